'use strict';
(function () {
  const { data, color, text, axis, base, bars } = Charts;
  const COLORS = ['dx', 'dbias', 'soft', 'bad', 'y', 'dweight'];

  const paint = (i) => color(COLORS[i % COLORS.length]);
  const scientific = (value) => (value === null || value === undefined ? 'no number' : Number(value).toExponential(1));
  const power = (value) => '1e' + Math.round(Math.log10(value));

  // Logarithmic axes have no zero, so exact values have no point.
  const positive = (value) => (value > 0 ? value : null);

  // The largest error within each power of two, at its first position: the error at the midpoint of two numbers of a
  // format is far larger than at its neighbours.
  function worst(points, valueOf) {
    const largest = new Map();
    for (const point of points.filter((p) => p.position > 0)) {
      const octave = Math.pow(2, Math.floor(Math.log2(point.position)));
      largest.set(octave, Math.max(largest.get(octave) || 0, valueOf(point) || 0));
    }
    // Drops a last power of two with a single position, which does not represent the others.
    if (points[points.length - 1].position === data.positions - 1) {
      largest.delete(data.positions - 1);
    }
    return [...largest].map(([octave, value]) => [octave, positive(value)]);
  }

  function lines(valueOf) {
    const tooltip = base(scientific);
    tooltip.tooltip.axisPointer = { type: 'line' };
    return Object.assign(tooltip, {
      grid: { left: 8, right: 24, top: 64, bottom: 28, containLabel: true },
      xAxis: axis({
        type: 'log',
        logBase: 2,
        min: 1,
        name: 'position',
        nameLocation: 'middle',
        nameGap: 28,
        axisLabel: Object.assign(text(), { formatter: (position) => '2^' + Math.round(Math.log2(position)) }),
      }),
      yAxis: axis({ type: 'log', axisLabel: Object.assign(text(), { formatter: power }) }),
      series: data.ways.map((way, i) => ({
        name: way.way,
        type: 'line',
        symbolSize: 4,
        lineStyle: { width: 2 },
        itemStyle: { color: paint(i) },
        data: worst(way.points, valueOf),
      })),
    });
  }

  function scores(element) {
    const dtype = element.dataset.dtype;
    const values = data.ways.map((way) => way.tables[dtype].max_score_error);
    element.style.height = 60 + values.length * 34 + 'px';
    // ECharts draws bars of a logarithmic axis from 1 downwards, so the logarithms are drawn on a plain axis.
    const floor = Math.floor(Math.log10(Math.min(...values.filter((v) => v > 0)))) - 1;
    const length = (value) => (value > 0 ? Math.log10(value) - floor : null);
    const back = (value) =>
      value === null || value === undefined ? 'no number' : Math.pow(10, value + floor).toExponential(1);
    const option = base(back);
    option.legend.show = false;
    return Object.assign(option, {
      grid: { left: 8, right: 24, top: 8, bottom: 8, containLabel: true },
      xAxis: axis({
        type: 'value',
        min: 0,
        axisLabel: Object.assign(text(), { formatter: (value) => '1e' + Math.round(value + floor) }),
      }),
      yAxis: axis({ type: 'category', inverse: true, data: data.ways.map((way) => way.way) }),
      series: [bars('largest', values.map((v, i) => ({ value: length(v), itemStyle: { color: paint(i) } })), color('y'))],
    });
  }

  Charts.start({
    radians: () => lines((point) => point.radians),
    errors: (element) => lines((point) => point[element.dataset.dtype][element.dataset.field]),
    scores: scores,
  });
})();
