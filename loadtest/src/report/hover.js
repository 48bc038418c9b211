// Shows the values under the pointer, in all plots of the same axis at once. The page says
// everything without it.
(() => {
  const three = (v) => (v >= 99.95 ? v.toFixed(0) : v >= 9.995 ? v.toFixed(1) : v.toFixed(2));
  const binary = (v) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let u = 0;
    while (v >= 999.5 && u < 4) { v /= 1024; u += 1; }
    return (u ? three(v) : v.toFixed(0)) + " " + units[u];
  };
  const plain = (v) =>
    v >= 99.95 || Number.isInteger(v) ? Math.round(v).toLocaleString("en") : three(v);
  const said = {
    microseconds: (v) => v < 999.5 ? v.toFixed(0) + " µs" : v < 999500 ? three(v / 1e3) + " ms"
      : three(v / 1e6) + " s",
    bytes: binary,
    bytes_per_second: (v) => binary(v) + "/s",
    bytes_per_hour: (v) => binary(v) + "/h",
    seconds: (v) => three(v) + " s",
    per_second: (v) => plain(v) + "/s",
    share: (v) => three(v * 100) + " %",
    cores: (v) => v.toFixed(2),
    count: plain,
  };
  const clock = (s) => {
    const two = (n) => String(n).padStart(2, "0");
    const t = Math.round(s);
    return s < 120 ? s.toFixed(1) + " s"
      : t <= 7200 ? Math.floor(t / 60) + ":" + two(t % 60) + " min"
      : Math.floor(t / 3600) + ":" + two(Math.floor(t / 60) % 60) + " h";
  };
  const where = ([kind, low, high], part) => {
    if (kind !== "nines") return clock(low + part * (high - low));
    const nines = part * high;
    return (100 * (1 - 10 ** -nines)).toFixed(Math.min(8, Math.max(1, Math.ceil(nines)))) + " %";
  };
  const plots = [...document.querySelectorAll("figure.plot")].flatMap((figure) => {
    const data = figure.querySelector("script");
    const chart = figure.querySelector("svg.chart");
    if (!data || !chart) return [];
    // A reader without sight still has the name; the pointer no longer calls it up.
    const title = chart.querySelector("title");
    chart.setAttribute("aria-label", title.textContent);
    chart.removeAttribute("aria-labelledby");
    title.remove();
    const out = figure.querySelector("output");
    const cursor = chart.querySelector(".cursor");
    return [{ figure, chart, out, cursor, ...JSON.parse(data.textContent) }];
  });
  const nearest = (points, x) => {
    let low = 0, high = points.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (points[middle][0] < x) low = middle; else high = middle;
    }
    const best = x - points[low][0] < points[high][0] - x ? points[low] : points[high];
    return Math.abs(best[0] - x) < 25 ? best[1] : null;
  };
  const show = (kind, part) => {
    for (const plot of plots.filter((other) => other.x[0] === kind)) {
      plot.cursor.setAttribute("x1", part * 100 + "%");
      plot.cursor.setAttribute("x2", part * 100 + "%");
      plot.figure.classList.add("reading");
      const values = plot.lines.flatMap(([name, points]) => {
        const value = nearest(points, part * 1000);
        return value === null ? [] : [(name ? name + " " : "") + said[plot.unit](value)];
      });
      plot.out.textContent = [where(plot.x, part), ...values].join("  ·  ");
    }
  };
  for (const plot of plots) {
    plot.chart.addEventListener("pointermove", (event) => {
      const box = plot.chart.getBoundingClientRect();
      show(plot.x[0], Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
    });
    plot.chart.addEventListener("pointerleave", () => {
      for (const other of plots) {
        other.figure.classList.remove("reading");
        other.out.textContent = "";
      }
    });
  }
})();
