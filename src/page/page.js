"use strict";
// What the page does beside standing there: points to hover, filter, sort and open. All texts go in as text, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const SPACE = "http://www.w3.org/2000/svg";
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#222222"];
  const make = (name, attributes, text) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const draw = (parent, name, attributes, text) => {
    const element = document.createElementNS(SPACE, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  };
  const number = (row, field) => {
    const value = row.fields[field];
    return typeof value === "number" && isFinite(value) ? value : null;
  };
  const label = (row) => data.label.map((field) => row.fields[field]).filter((value) => value !== undefined && value !== "").join(", ");

  // A value with its unit.
  const UNITS = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"], [1e-12, "p"]];
  const digits = (value) => {
    const size = Math.abs(value);
    if (value === 0) return "0";
    const text = size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : size >= 1 ? value.toFixed(2) : value.toPrecision(3);
    return text.includes(".") && !text.includes("e") ? text.replace(/0+$/, "").replace(/\.$/, "") : text;
  };
  const scaled = (value, unit) => {
    if (value === 0) return ("0 " + unit).trim();
    const [size, prefix] = UNITS.find(([size]) => Math.abs(value) >= size * 0.9995) || UNITS[UNITS.length - 1];
    return (digits(value / size) + " " + prefix + unit).trim();
  };
  const shown = (field, value) => {
    if (typeof value !== "number") return String(value);
    if (/energy_pj/.test(field)) return scaled(value * 1e-12, "J");
    if (/_percent$/.test(field)) return digits(value) + "%";
    if (/bytes_per_s$/.test(field)) return scaled(value, "B/s");
    if (/_per_s$/.test(field)) return scaled(value, "/s");
    if (/_s$/.test(field)) return scaled(value, "s");
    if (/_hz$/.test(field)) return scaled(value, "Hz");
    if (/_mm2$/.test(field)) return digits(value) + " mm²";
    if (/_bytes$/.test(field)) return scaled(value, "B");
    return Math.abs(value) >= 1e4 ? scaled(value, "") : digits(value);
  };

  // Filters: words, and a choice for each field of texts.
  const chosen = new Map();
  const words = () => byId("find").value.toLowerCase().split(/\s+/).filter((word) => word);
  const haystack = data.rows.map((row) => Object.values(row.fields).filter((value) => typeof value === "string").join(" ").toLowerCase());
  const passes = (row, place) =>
    words().every((word) => haystack[place].includes(word)) &&
    [...chosen].every(([field, value]) => value === "" || String(row.fields[field]) === value);
  for (const field of data.texts) {
    const values = [...new Set(data.rows.map((row) => row.fields[field]).filter((value) => value !== undefined).map(String))];
    const select = make("select", { "data-field": field });
    select.append(make("option", { value: "" }, "all"));
    for (const value of values) select.append(make("option", { value }, value));
    select.addEventListener("change", () => { chosen.set(field, select.value); refresh(); });
    const outer = make("label", {}, field.replace(/_/g, " ") + " ");
    outer.append(select);
    byId("filters").append(outer);
  }
  byId("find").addEventListener("input", () => refresh());

  // Axes and colours.
  const options = (id, fields, first) => {
    for (const field of fields) byId(id).append(make("option", { value: field }, field.replace(/_/g, " ")));
    byId(id).value = first;
    byId(id).addEventListener("change", () => { if (id !== "colour") suggest(id); refresh(); });
  };
  // Logarithms where values range widely and none is 0 or less.
  const suggest = (id) => {
    const values = data.rows.map((row) => number(row, byId(id).value)).filter((value) => value !== null);
    const positive = values.filter((value) => value > 0);
    const isCost = /(error_percent|latency_s|energy_pj.*|cycles.*)$/.test(byId(id).value);
    const wide = positive.length > 0 && Math.max(...positive) > (isCost ? 2 : 8) * Math.min(...positive);
    byId("log" + id).checked = wide;
  };
  options("x", data.numbers, data.first[0]);
  options("y", data.numbers, data.first[1]);
  options("colour", data.texts, data.first[2]);
  for (const id of ["x", "y"]) {
    suggest(id);
    byId("log" + id).addEventListener("change", () => refresh());
  }

  const WIDTH = 1120, HEIGHT = 460, LEFT = 84, BOTTOM = 48, TOP = 14, RIGHT = 40;
  const axis = (values, isLog, from, to) => {
    const fits = values.filter((value) => !isLog || value > 0);
    let [low, high] = fits.length ? [Math.min(...fits), Math.max(...fits)] : [1, 10];
    if (isLog) { low /= 1.25; high *= 1.25; } else {
      const room = (high - low || Math.abs(high) || 1) * 0.06;
      low = low >= 0 ? Math.max(0, low - room) : low - room;
      high += room;
    }
    const share = (value) => (isLog ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
    const ticks = [];
    if (isLog && high / low > 4) {
      const steps = high / low > 1000 ? [1] : [1, 2, 5];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1)
        for (const step of steps) ticks.push(step * 10 ** power);
    } else {
      const power = 10 ** Math.floor(Math.log10(high - low));
      const step = [0.1, 0.2, 0.5, 1, 2].map((times) => times * power).find((size) => (high - low) / size <= 6) || power;
      for (let tick = Math.ceil(low / step); tick * step <= high; tick += 1) ticks.push(tick * step);
    }
    return { place: (value) => from + share(value) * (to - from), ticks: ticks.filter((tick) => tick >= low && tick <= high), fits: (value) => !isLog || value > 0 };
  };
  const shape = (parent, group, x, y, radius, attributes) => {
    const place = (points) => points.map(([across, down]) => (x + across * radius) + "," + (y + down * radius)).join(" ");
    switch (group % 5) {
      case 0: return draw(parent, "circle", { cx: x, cy: y, r: radius, ...attributes });
      case 1: return draw(parent, "rect", { x: x - 0.88 * radius, y: y - 0.88 * radius, width: 1.76 * radius, height: 1.76 * radius, ...attributes });
      case 2: return draw(parent, "polygon", { points: place([[0, -1.2], [1.1, 0.8], [-1.1, 0.8]]), ...attributes });
      case 3: return draw(parent, "polygon", { points: place([[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]]), ...attributes });
      default: return draw(parent, "polygon", { points: place([[0, 1.2], [1.1, -0.8], [-1.1, -0.8]]), ...attributes });
    }
  };

  // The card beside a point.
  const tip = byId("tip");
  const show = (row, x, y) => {
    tip.textContent = "";
    tip.append(make("b", {}, label(row)));
    const fields = [...new Set([byId("x").value, byId("y").value, byId("colour").value, ...data.first])];
    for (const field of fields)
      if (row.fields[field] !== undefined && row.fields[field] !== null)
        tip.append(make("div", {}, field.replace(/_/g, " ") + ": " + shown(field, row.fields[field])));
    tip.hidden = false;
    const width = document.documentElement.clientWidth;
    tip.style.left = Math.max(4, Math.min(x + 14, width - tip.offsetWidth - 8)) + "px";
    tip.style.top = (y + 14) + "px";
  };
  const hide = () => { tip.hidden = true; };

  const drawChart = (places) => {
    const [fieldX, fieldY, fieldC] = ["x", "y", "colour"].map((id) => byId(id).value);
    const groups = [...new Set(data.rows.map((row) => row.fields[fieldC]).filter((value) => value !== undefined).map(String))];
    const points = places
      .map((place) => ({ place, row: data.rows[place], x: number(data.rows[place], fieldX), y: number(data.rows[place], fieldY) }))
      .filter((point) => point.x !== null && point.y !== null);
    const x = axis(points.map((point) => point.x), byId("logx").checked, LEFT, WIDTH - RIGHT);
    const y = axis(points.map((point) => point.y), byId("logy").checked, HEIGHT - BOTTOM, TOP);
    const visible = points.filter((point) => x.fits(point.x) && y.fits(point.y));
    const chart = byId("chart");
    chart.textContent = "";
    const svg = draw(chart, "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${fieldY} against ${fieldX}` });
    for (const tick of x.ticks) {
      draw(svg, "line", { class: "grid", x1: x.place(tick), x2: x.place(tick), y1: TOP, y2: HEIGHT - BOTTOM });
      draw(svg, "text", { x: x.place(tick), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle" }, shown(fieldX, tick));
    }
    for (const tick of y.ticks) {
      draw(svg, "line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y.place(tick), y2: y.place(tick) });
      draw(svg, "text", { x: LEFT - 8, y: y.place(tick) + 4, "text-anchor": "end" }, shown(fieldY, tick));
    }
    draw(svg, "text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, fieldX.replace(/_/g, " "));
    draw(svg, "text", { x: LEFT + 6, y: TOP + 12 }, "↑ " + fieldY.replace(/_/g, " "));
    for (const point of visible) {
      const group = Math.max(0, groups.indexOf(String(point.row.fields[fieldC])));
      const mark = shape(svg, group, x.place(point.x), y.place(point.y), point.row.front ? 7 : 5,
        { class: "mark", fill: COLOURS[group % COLOURS.length], tabindex: 0, "data-row": point.place, "aria-label": label(point.row) });
      mark.addEventListener("mousemove", (event) => show(point.row, event.pageX, event.pageY));
      mark.addEventListener("mouseleave", hide);
      mark.addEventListener("focus", () => { const box = mark.getBoundingClientRect(); show(point.row, box.right + scrollX, box.bottom + scrollY); });
      mark.addEventListener("blur", hide);
      mark.addEventListener("click", () => open(point.place, true));
      mark.addEventListener("keydown", (event) => { if (event.key === "Enter") open(point.place, true); });
    }
    const key = byId("key");
    key.textContent = "";
    groups.forEach((group, number) => {
      const entry = make("span", {});
      const sample = draw(entry, "svg", { viewBox: "0 0 16 16" });
      shape(sample, number, 8, 8, 5.5, { fill: COLOURS[number % COLOURS.length] });
      entry.append(make("span", {}, group));
      key.append(entry);
    });
    byId("count").textContent = `${visible.length} of ${data.rows.length} ${data.rows_are} shown` +
      (data.rows.some((row) => row.front) ? "; large ones are on the front of latency and select error" : "");
  };

  // The table: sorted by a click on a head, opened by one on a row.
  const table = byId("table");
  const body = table.tBodies[0];
  const trs = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  // Cells are what a reader sees; sorted is by the number in front with its prefix.
  const PREFIX = { T: 1e12, G: 1e9, M: 1e6, k: 1e3, m: 1e-3, "µ": 1e-6, n: 1e-9, p: 1e-12 };
  const BINARY = { KiB: 1024, MiB: 1048576, GiB: 1073741824, TiB: 1099511627776 };
  const key = (text) => {
    const match = text.replace(/,/g, "").match(/^\s*<?(-?\d+(?:\.\d+)?)\s*(.*)$/);
    if (!match) return null;
    const unit = match[2];
    if (BINARY[unit]) return Number(match[1]) * BINARY[unit];
    const prefix = unit.length > 1 || /^[TGMk]$/.test(unit) ? PREFIX[unit[0]] : undefined;
    return Number(match[1]) * (prefix !== undefined && unit !== "mm²" ? prefix : 1);
  };
  heads.forEach((head, column) => {
    head.setAttribute("tabindex", "0");
    const sort = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const isNumber = head.classList.contains("number");
      const keyed = trs.map((tr, place) => ({ tr, place, text: tr.cells[column].textContent, value: isNumber ? key(tr.cells[column].textContent) : null }));
      keyed.sort((one, other) => {
        if (isNumber) {
          // What has no number comes last, whichever way.
          if (one.value === null || other.value === null) return (one.value === null) - (other.value === null) || one.place - other.place;
          return (down ? other.value - one.value : one.value - other.value) || one.place - other.place;
        }
        const order = one.text.localeCompare(other.text, "en", { numeric: true });
        return (down ? -order : order) || one.place - other.place;
      });
      closeAll();
      body.append(...keyed.map((row) => row.tr));
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
  });

  const closeAll = () => {
    for (const opened of body.querySelectorAll("tr.open")) opened.remove();
    for (const row of trs) row.classList.remove("chosen");
    for (const mark of document.querySelectorAll("#chart .chosen")) mark.classList.remove("chosen");
  };
  const open = (place, isFar) => {
    const tr = trs.find((tr) => Number(tr.dataset.row) === place);
    const wasOpen = tr.classList.contains("chosen");
    closeAll();
    if (wasOpen && !isFar) return;
    tr.classList.add("chosen");
    const mark = document.querySelector(`#chart [data-row="${place}"]`);
    if (mark) mark.classList.add("chosen");
    const row = data.rows[place];
    const cell = make("td", { colspan: String(heads.length) });
    if (row.fields.reason) cell.append(make("p", {}, row.fields.reason));
    const most = Math.max(1, ...row.parts.map((part) => part.cycles));
    const used = new Set();
    for (const part of row.parts) {
      const line = make("div", { class: "part", title: part.about });
      line.append(make("div", { class: "name" }, part.name));
      const bar = make("div", { class: "bar" });
      part.accounts.forEach((cycles, account) => {
        if (cycles === 0) return;
        used.add(account);
        const [name, colour] = data.accounts[account];
        const piece = make("i", { title: `${name}: ${cycles.toLocaleString("en")} cycles (${(100 * cycles / part.cycles).toFixed(1)}%)` });
        piece.style.width = (100 * cycles / most) + "%";
        piece.style.background = colour;
        bar.append(piece);
      });
      line.append(bar);
      line.append(make("div", { class: "figures" }, `${part.cycles.toLocaleString("en")} cycles, ${part.energy}, use ${part.use_percent}`));
      cell.append(line);
    }
    if (used.size) {
      const legend = make("div", { class: "accounts" });
      for (const account of [...used].sort((one, other) => one - other)) {
        const entry = make("span", {}, data.accounts[account][0]);
        entry.style.setProperty("--colour", data.accounts[account][1]);
        legend.append(entry);
      }
      cell.append(legend);
    } else if (!row.fields.reason) cell.append(make("p", {}, "No " + data.parts_are + " kept here."));
    if (row.fields.run) { const line = make("p", {}, "again: "); line.append(make("code", {}, row.fields.run)); cell.append(line); }
    const opened = make("tr", { class: "open" });
    opened.append(cell);
    tr.after(opened);
    if (isFar) tr.scrollIntoView({ block: "center" });
  };
  for (const tr of trs) tr.addEventListener("click", () => open(Number(tr.dataset.row), false));

  const refresh = () => {
    hide();
    const places = data.rows.map((row, place) => place).filter((place) => passes(data.rows[place], place));
    const kept = new Set(places);
    closeAll();
    for (const tr of trs) tr.hidden = !kept.has(Number(tr.dataset.row));
    if (data.numbers.length > 0) drawChart(places);
  };
  document.body.classList.add("js");
  byId("explore").hidden = data.numbers.length === 0;
  for (const hint of document.querySelectorAll(".hint")) hint.hidden = false;
  refresh();
})();
