'use strict';
// Functions for the charts of all reports. `data` is the page's JSON.
const Charts = (function () {
  const data = JSON.parse(document.getElementById('data').textContent);
  const charts = [];

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();

  const text = () => ({ color: color('soft'), fontFamily: getComputedStyle(document.body).fontFamily, fontSize: 12 });

  const percent = (share) => (share === 0 ? '0 %' : Number((100 * share).toPrecision(3)).toString() + ' %');

  function axis(extra) {
    return Object.assign(
      {
        axisLabel: text(),
        nameTextStyle: text(),
        axisLine: { lineStyle: { color: color('line') } },
        axisTick: { show: false },
        splitLine: { lineStyle: { color: color('line') } },
      },
      extra);
  }

  function base(format) {
    return {
      animation: false,
      textStyle: text(),
      legend: { top: 0, left: 0, itemWidth: 12, itemHeight: 12, textStyle: text() },
      tooltip: {
        trigger: 'axis',
        axisPointer: { type: 'shadow' },
        confine: true,
        valueFormatter: format,
        backgroundColor: color('paper'),
        borderColor: color('line'),
        textStyle: { color: color('ink'), fontSize: 13 },
      },
    };
  }

  function bars(name, values, paint) {
    return { name: name, type: 'bar', data: values, itemStyle: { color: paint }, barMaxWidth: 26, barGap: '10%' };
  }

  function labelsFor(element) {
    const narrow = element.clientWidth < 560;
    const most = narrow ? 20 : 48;
    // On a narrow page each part of a name except the last is cut to its first letter; numbers stay.
    const abbreviated = (name) => name.replace(/([A-Za-z_])[A-Za-z_]*\./g, '$1.');
    return {
      interval: 0,
      formatter: (name) => {
        const label = narrow ? abbreviated(name) : name;
        return label.length > most ? '\u2026' + label.slice(label.length - most + 1) : label;
      },
    };
  }

  // Draws every element of class `chart` and of a kind with the function of the kind. Redraws when the width or the
  // colour scheme of the page changes.
  function start(kinds) {
    function draw() {
      charts.splice(0).forEach((chart) => chart.dispose());
      for (const kind of Object.keys(kinds)) {
        document.querySelectorAll('.chart.' + kind).forEach((element) => {
          const option = kinds[kind](element);
          const chart = echarts.init(element, null, { renderer: 'svg' });
          chart.setOption(option);
          charts.push(chart);
        });
      }
    }
    let width = window.innerWidth;
    window.addEventListener('resize', () => {
      if (window.innerWidth !== width) {
        width = window.innerWidth;
        draw();
      }
    });
    window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
    draw();
  }

  return { data, color, text, percent, axis, base, bars, labelsFor, start };
})();
