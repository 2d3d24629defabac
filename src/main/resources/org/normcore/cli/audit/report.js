'use strict';
(function () {
  const { data, color, text, percent, axis, base, bars, labelsFor } = Charts;
  const TENSORS = ['y', 'dx', 'dweight', 'dbias'];

  // Powers of two as text.
  function rounded(count) {
    const units = ['', 'K', 'M', 'G', 'T', 'P', 'E'];
    let unit = 0;
    while (count >= 1024 && unit < units.length - 1) {
      count /= 1024;
      unit++;
    }
    return Math.round(count) + units[unit];
  }

  function casesOf(element) {
    return data.cases.filter(
      (c) =>
        c.dtype === element.dataset.dtype &&
        c.policies[0] === element.dataset.a &&
        c.policies[1] === element.dataset.b);
  }

  function histogram(element) {
    const cases = casesOf(element);
    const tensors = TENSORS.filter((name) => cases.some((c) => c[name]));
    const labels = [];
    const shares = tensors.map((name) => {
      const counts = [];
      let total = 0;
      for (const c of cases) {
        total += c[name].elements;
        c[name].ulp_histogram.forEach((bucket, i) => {
          counts[i] = (counts[i] || 0) + bucket.count;
          labels[i] = bucket.from === bucket.to ? String(bucket.from) : '\u2264' + rounded(bucket.to);
        });
      }
      return counts.map((count) => count / total);
    });
    // ECharts draws bars of a logarithmic axis from 1 downwards, so the logarithms are drawn on a plain axis.
    const least = Math.min(...shares.flat().filter((share) => share > 0));
    const floor = Math.ceil(Math.log10(least)) - 1;
    const height = (share) => (share > 0 ? Math.log10(share) - floor : null);
    const decade = (value) => percent(Math.pow(10, value + floor));
    const tip = (value) => (value === null || value === undefined ? '0 %' : decade(value));
    return Object.assign(base(tip), {
      grid: { left: 8, right: 8, top: 40, bottom: 28, containLabel: true },
      xAxis: axis({
        type: 'category',
        data: labels,
        name: 'units in the last place',
        nameLocation: 'middle',
        nameGap: 28,
        axisLabel: Object.assign(text(), { interval: element.clientWidth < 560 ? 'auto' : 0 }),
      }),
      yAxis: axis({
        type: 'value',
        min: 0,
        max: -floor,
        interval: 1,
        axisLabel: Object.assign(text(), { formatter: decade }),
      }),
      series: tensors.map((name, i) => bars(name, shares[i].map(height), color(name))),
    });
  }

  function norms(element) {
    const cases = casesOf(element);
    const tensors = TENSORS.filter((name) => cases.some((c) => c[name] && c[name].differing > 0));
    element.style.height = 70 + cases.length * (tensors.length * 8 + 10) + 'px';
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
        data: cases.map((c) => c.norm),
        axisLabel: Object.assign(text(), labelsFor(element)),
      }),
      series: tensors.map((name) => bars(name, cases.map((c) => c[name].differing), color(name))),
    });
  }

  function recorded(element) {
    const cases = data.recorded.filter((c) => c.policy === element.dataset.policy);
    element.style.height = 70 + cases.length * 34 + 'px';
    const scientific = (value) => (value === 0 ? '0' : Number(value).toExponential(1));
    return Object.assign(base((value) => Number(value).toExponential(3)), {
      grid: { left: 8, right: 24, top: 40, bottom: 8, containLabel: true },
      xAxis: axis({
        type: 'value',
        min: 0,
        splitNumber: element.clientWidth < 560 ? 3 : 6,
        axisLabel: Object.assign(text(), { formatter: scientific }),
      }),
      yAxis: axis({
        type: 'category',
        inverse: true,
        data: cases.map((c) => c.norm),
        axisLabel: Object.assign(text(), labelsFor(element)),
      }),
      series: [
        bars('recorded', cases.map((c) => c.recorded.max_error), color('dx')),
        bars('normcore', cases.map((c) => c.normcore.max_error), color('dweight')),
        bars('normcore, computing in float64', cases.map((c) => c.normcore_float64.max_error), color('y')),
      ],
    });
  }

  Charts.start({ histogram: histogram, norms: norms, recorded: recorded });
})();
