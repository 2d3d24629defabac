'use strict';
(function () {
  const { data, color, text, percent, axis, base, bars, labelsFor } = Charts;
  const SCALES = ['scale-1', 'own-amax', 'own-amax-power-of-two', 'mxfp8'];
  const COLORS = ['bad', 'y', 'dbias', 'dweight'];
  const MOST = 40;

  function losses(element) {
    const cases = data.cases.slice(0, MOST);
    const value = (c, scale) =>
      c.ways.find((way) => way.format === element.dataset.format && way.scale === scale)[element.dataset.field];
    element.style.height = 70 + cases.length * 44 + 'px';
    return Object.assign(base(percent), {
      grid: { left: 8, right: 24, top: 40, bottom: 8, containLabel: true },
      xAxis: axis({
        type: 'value',
        min: 0,
        splitNumber: element.clientWidth < 560 ? 3 : 6,
        axisLabel: Object.assign(text(), { formatter: percent }),
      }),
      yAxis: axis({
        type: 'category',
        inverse: true,
        data: cases.map((c) => c.values),
        axisLabel: Object.assign(text(), labelsFor(element)),
      }),
      series: SCALES.map((scale, i) => bars(scale, cases.map((c) => value(c, scale)), color(COLORS[i]))),
    });
  }

  Charts.start({ losses: losses });
})();
