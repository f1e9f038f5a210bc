"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const slider = document.getElementById("slice");
  const output = document.getElementById("number");
  const kind = document.getElementById("kind");
  const n = data.slices.length;
  const group = document.getElementById("marks");
  const boxes = {};
  for (const { name, text, color } of data.marks) {
    const label = document.createElement("label");
    const box = boxes[name] = document.createElement("input");
    box.type = "checkbox";
    box.id = `mark-${name}`;
    const swatch = document.createElement("i");
    swatch.className = "swatch";
    swatch.style.background = `rgb(${color})`;
    label.append(box, swatch, text);
    group.append(label);
  }

  const loaded = new Map();
  // Grey values or flags of a picture, decoded once.
  function pixels(address) {
    if (!loaded.has(address)) {
      const image = new Image();
      image.src = address;
      loaded.set(address, image.decode().then(() => {
        const canvas = document.createElement("canvas");
        canvas.width = image.naturalWidth;
        canvas.height = image.naturalHeight;
        const context = canvas.getContext("2d", { willReadFrequently: true });
        context.drawImage(image, 0, 0);
        return context.getImageData(0, 0, canvas.width, canvas.height);
      }));
    }
    return loaded.get(address);
  }

  const panels = data.panels.map((name) => {
    const figure = document.createElement("figure");
    figure.innerHTML = "<figcaption><b></b><output></output></figcaption><canvas></canvas>" +
      "<div class='scale'><span></span><i></i><span></span></div>";
    document.getElementById("panels").append(figure);
    const panel = {
      name, canvas: figure.querySelector("canvas"), title: figure.querySelector("b"),
      value: figure.querySelector("output"), ends: figure.querySelectorAll(".scale span"),
      scale: figure.querySelector(".scale i"),
    };
    panel.canvas.style.aspectRatio = `${data.width} / ${data.height}`;
    panel.canvas.setAttribute("role", "img");
    panel.canvas.addEventListener("pointermove", (event) => read(panel, event));
    panel.canvas.addEventListener("pointerleave", () => { panel.value.textContent = ""; });
    return panel;
  });
  // Marks let the map show through.
  const blend = (color, tint) => tint.map((part, i) => 0.3 * (color ? color[i] : 0) + 0.7 * part);
  const gray = (name) => name === "anatomy";
  const format = (value) => Number(value.toPrecision(3)).toString();
  const gradient = (colors) => `linear-gradient(90deg, ${colors.join(", ")})`;
  const STOPS = [0, 32, 64, 96, 128, 160, 192, 224, 255];
  const scales = {
    true: gradient(["#000", "#fff"]),
    false: gradient(STOPS.map((i) => `rgb(${data.colors.slice(3 * i, 3 * i + 3)})`)),
  };

  function valueOf(layer, level) {
    const share = (level - data.lowest) / (255 - data.lowest);
    return layer.low + Math.max(0, share) * (layer.high - layer.low);
  }

  function layerOf(panel) {
    const own = `${panel.name}_${kind.value}`;
    return kind.value && own in data.layers ? own : panel.name;
  }

  async function draw(panel) {
    const index = Number(slider.value);
    const name = layerOf(panel), layer = data.layers[name];
    const [grey, flags] = await Promise.all([
      pixels(layer.images[index]), pixels(data.flags[index]),
    ]);
    // A later move of the slider has drawn already.
    if (index !== Number(slider.value) || name !== layerOf(panel)) return;
    panel.grey = grey;
    panel.flags = flags;
    panel.layer = layer;
    const { width, height } = grey;
    panel.canvas.width = width;
    panel.canvas.height = height;
    const picture = new ImageData(width, height);
    const bit = data.parameters.indexOf(panel.name);
    for (let i = 0; i < width * height; i++) {
      const level = grey.data[4 * i], code = flags.data[4 * i] - 1;
      let color = null;
      if (gray(panel.name)) {
        color = level < data.lowest / 2 ? null : [level, level, level];
      } else if (code >= 0 && level >= data.lowest / 2) {
        const at = 3 * Math.min(255, Math.max(0,
          Math.round((level - data.lowest) / (255 - data.lowest) * 255)));
        color = data.colors.slice(at, at + 3);
      }
      if (code >= 0) {
        const bits = flags.data[4 * i + 1] + 256 * flags.data[4 * i + 2];
        for (const mark of data.marks) {
          // A mark without a status is that of the bounds of the parameter that the panel shows.
          const marked = mark.status === null ? bit >= 0 && (bits >> bit) & 1 : code === mark.status;
          if (boxes[mark.name].checked && marked) color = blend(color, mark.color);
        }
      }
      if (color) {
        picture.data.set(color, 4 * i);
        picture.data[4 * i + 3] = 255;
      }
    }
    panel.canvas.getContext("2d").putImageData(picture, 0, 0);
    panel.title.textContent = layer.title + (layer.unit ? ` (${layer.unit})` : "");
    panel.canvas.setAttribute("aria-label", `${layer.title}, slice ${data.slices[index]}`);
    panel.ends[0].textContent = format(layer.low);
    panel.ends[1].textContent = format(layer.high);
    panel.scale.style.background = scales[gray(panel.name)];
  }

  function read(panel, event) {
    if (!panel.grey) return;
    const box = panel.canvas.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left) / box.width * panel.grey.width);
    const y = Math.floor((event.clientY - box.top) / box.height * panel.grey.height);
    const level = panel.grey.data[4 * (y * panel.grey.width + x)];
    const known = level >= data.lowest / 2;
    panel.value.textContent = known ? format(valueOf(panel.layer, level)) : "";
  }

  function update() {
    output.textContent = `${data.slices[slider.value]} of ${data.slices[n - 1]}`;
    panels.forEach(draw);
  }
  slider.max = n - 1;
  slider.value = Math.floor(n / 2);
  slider.addEventListener("input", update);
  kind.addEventListener("change", update);
  kind.parentElement.hidden = kind.options.length < 2;
  group.addEventListener("change", update);
  update();
})();
