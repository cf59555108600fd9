// Figures of the methods side by side: a click (or the arrow keys) asks which kept token covers a patch, and the order of
// the picks is played. Runs inside gr.HTML, which gives `element`, `props` and `watch`. Texts are set as text, never as HTML.
const root = element.querySelector(".sd-figures");
const player = element.querySelector(".sd-player");
const playButton = player.querySelector("button");
const scrubber = player.querySelector("input");
const stepText = player.querySelector("output");
const found = element.querySelector(".sd-found");
const SECONDS = 6;
let cell = null; // tile, row and column of the asked patch
let step = null; // number of picks shown while playing; null for all
let timer = null;
let nodes = [];

function make(tag, name, parent) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (parent) parent.append(node);
  return node;
}

function figures() {
  return (props.value && props.value.figures) || [];
}

function build(count) {
  root.replaceChildren();
  nodes = Array.from({ length: count }, (_, number) => {
    const figure = make("figure", "", root);
    const stage = make("div", "sd-stage", figure);
    const image = make("img", "", stage);
    const canvas = make("canvas", "", stage);
    canvas.setAttribute("aria-hidden", "true");
    stage.tabIndex = 0;
    stage.setAttribute("role", "application");
    stage.addEventListener("click", (event) => point(number, event));
    stage.addEventListener("keydown", (event) => move(number, event));
    const caption = make("figcaption", "", figure);
    return {
      stage, image, canvas,
      label: make("strong", "", caption), kept: make("span", "sd-kept", caption),
      bar: make("div", "sd-bar", caption), small: make("div", "sd-small", caption), error: make("p", "sd-error", figure),
    };
  });
}

function render() {
  const shown = figures();
  if (nodes.length !== shown.length) build(shown.length);
  shown.forEach((figure, number) => fill(nodes[number], figure));
  const most = Math.max(0, ...shown.map((figure) => (figure.picks || []).length));
  player.hidden = most === 0;
  scrubber.max = most;
  if (timer === null) { step = null; scrubber.value = most; }
  draw();
}

function fill(node, figure) {
  node.label.textContent = figure.label;
  node.error.textContent = figure.error || "";
  node.error.hidden = !figure.error;
  node.stage.hidden = !figure.image;
  const measured = figure.error === undefined;
  node.kept.textContent = measured ? `${figure.count} of ${figure.tokens} tokens` : "";
  node.bar.hidden = !measured;
  node.small.textContent = "";
  if (!measured) return;
  const percent = `${(100 * figure.coverage).toFixed(1)}%`;
  node.bar.style.setProperty("--share", percent);
  node.bar.textContent = `covers ${percent} at ${figure.theta}`;
  node.small.textContent = [`selected in ${figure.ms.toFixed(1)} ms`, ...figure.notes].join("; ");
  if (!figure.image) return;
  if (node.image.src !== figure.image) node.image.src = figure.image;
  node.image.width = node.canvas.width = figure.width;
  node.image.height = node.canvas.height = figure.height;
  node.image.alt = `${figure.label} keeps ${figure.count} of ${figure.tokens} patches: kept ones in colour, dropped ones dark`;
  node.stage.setAttribute("aria-label", `Patches of ${figure.label}. Arrow keys choose a patch.`);
}

function draw() {
  const lines = figures().map((figure, number) => drawOne(figure, nodes[number])).filter(Boolean);
  found.replaceChildren();
  if (cell === null || !lines.length) {
    make("li", "", found).textContent = "Click a patch, or use the arrow keys on an image: which kept token covers it, and with what cosine?";
  }
  for (const line of lines) make("li", "", found).textContent = line;
  const most = Number(scrubber.max);
  stepText.textContent = step === null ? `all ${most} picks` : `${step} of ${most} picks`;
  playButton.textContent = timer === null ? "Play the order of the picks" : "Pause";
}

function drawOne(figure, node) {
  if (!figure.image) return "";
  const pen = node.canvas.getContext("2d");
  pen.clearRect(0, 0, node.canvas.width, node.canvas.height);
  if (step !== null) {
    pen.fillStyle = "rgba(14, 17, 23, 0.86)";
    for (const pick of figure.picks.slice(step)) if (figure.boxes[pick]) pen.fillRect(...figure.boxes[pick].slice(0, 4));
  }
  const token = cell === null ? -1 : figure.boxes.findIndex((box) => box && box[4] === cell[0] && box[5] === cell[1] && box[6] === cell[2]);
  if (token < 0) return "";
  const owner = figure.nearest[token];
  const place = (box) => `row ${box[5] + 1}, column ${box[6] + 1}`;
  frame(pen, figure.boxes[token], "#00e5ff");
  if (owner < 0 || !figure.boxes[owner]) return `${figure.label}: no kept token covers ${place(figure.boxes[token])}`;
  const [from, to] = [figure.boxes[token], figure.boxes[owner]].map((box) => [box[0] + box[2] / 2, box[1] + box[3] / 2]);
  pen.lineWidth = 3;
  pen.strokeStyle = "#ffffff";
  pen.beginPath(); pen.moveTo(...from); pen.lineTo(...to); pen.stroke();
  frame(pen, figure.boxes[owner], "#ff4fd8");
  const rank = figure.picks.indexOf(owner) + 1;
  if (owner === token) return `${figure.label}: ${place(figure.boxes[token])} is kept itself, as pick ${rank}`;
  return `${figure.label}: ${place(figure.boxes[token])} is covered by ${place(figure.boxes[owner])} (pick ${rank}), cosine ${figure.cosine[token].toFixed(2)}`;
}

function frame(pen, box, colour) {
  pen.lineWidth = 7; pen.strokeStyle = "#000000"; pen.strokeRect(...box.slice(0, 4));
  pen.lineWidth = 4; pen.strokeStyle = colour; pen.strokeRect(...box.slice(0, 4));
}

function point(number, event) {
  const figure = figures()[number];
  const area = nodes[number].canvas.getBoundingClientRect();
  const x = ((event.clientX - area.left) * figure.width) / area.width;
  const y = ((event.clientY - area.top) * figure.height) / area.height;
  const box = figure.boxes.find((one) => one && x >= one[0] && x < one[0] + one[2] && y >= one[1] && y < one[1] + one[3]);
  if (box) { cell = box.slice(4); draw(); }
}

function move(number, event) {
  const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (event.key === "Escape") { cell = null; draw(); return; }
  if (!by) return;
  event.preventDefault();
  const next = cell === null ? [0, 0, 0] : [cell[0], cell[1] + by[0], cell[2] + by[1]];
  if (figures()[number].boxes.some((box) => box && box[4] === next[0] && box[5] === next[1] && box[6] === next[2])) cell = next;
  draw();
}

function stop() {
  if (timer !== null) cancelAnimationFrame(timer);
  timer = null;
}

playButton.addEventListener("click", () => {
  if (timer !== null) { stop(); draw(); return; }
  const most = Number(scrubber.max);
  const start = step === null || step >= most ? 0 : step;
  let begin = null;
  const tick = (now) => {
    begin = begin === null ? now : begin;
    step = Math.min(most, start + Math.floor(((now - begin) / 1000 / SECONDS) * most));
    scrubber.value = step;
    if (step >= most) { timer = null; step = null; } else { timer = requestAnimationFrame(tick); }
    draw();
  };
  timer = requestAnimationFrame(tick);
  draw();
});

scrubber.addEventListener("input", () => {
  stop();
  step = Number(scrubber.value) >= Number(scrubber.max) ? null : Number(scrubber.value);
  draw();
});

watch("value", render);
render();
