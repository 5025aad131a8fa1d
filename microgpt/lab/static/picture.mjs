// A screen as a picture for a slide: SVG that holds the page's own elements, or a PNG of it.

/** @param {HTMLElement} el @param {string} theme
 * @returns {{svg: string, width: number, height: number}} */
function drawn(el, theme) {
  const { width, height } = el.getBoundingClientRect();
  const rules = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]);
  const sheet = rules.map((rule) => rule.cssText.replace(/^html /, ":root ")).join("\n");
  const copy = /** @type {HTMLElement} */ (el.cloneNode(true));
  const before = [...el.querySelectorAll("*")],
    after = [...copy.querySelectorAll("*")];
  for (const [i, from] of before.entries()) {
    // what a person has typed or scrolled is not in the elements
    const to = /** @type {any} */ (after[i]);
    if (from instanceof HTMLTextAreaElement) to.textContent = from.value;
    else if (from instanceof HTMLInputElement) {
      to.setAttribute("value", from.value);
      to.toggleAttribute("checked", from.checked);
    } else if (from instanceof HTMLImageElement) {
      to.setAttribute("src", data(from));
      to.style.width = `${from.width}px`;
    } else if (from instanceof HTMLOptionElement) to.toggleAttribute("selected", from.selected);
    if (from.scrollTop && to.firstElementChild)
      to.firstElementChild.style.marginTop = `${-from.scrollTop}px`;
  }
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ` +
    `data-theme="${theme}">` +
    `<style>${sheet.replaceAll("&", "&amp;").replaceAll("<", "&lt;")} * { scrollbar-width: ` +
    `none; }</style><foreignObject width="100%" height="100%">` +
    `${new XMLSerializer().serializeToString(copy)}</foreignObject></svg>`;
  return { svg, width, height };
}

/** What an image shows now, as an address that holds it. @param {HTMLImageElement} image */
function data(image) {
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  canvas.getContext("2d")?.drawImage(image, 0, 0);
  return canvas.toDataURL();
}

/** Save a screen as NAME.png, or as NAME.svg.
 * @param {HTMLElement} el @param {string} name @param {"png" | "svg"} kind */
export async function save(el, name, kind) {
  const theme = document.documentElement.dataset.theme ?? "light";
  const { svg, width, height } = drawn(el, theme);
  let blob = new Blob([svg], { type: "image/svg+xml" });
  if (kind === "png") {
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = 2 * width; // sharp on a projector
    canvas.height = 2 * height;
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.fillStyle = getComputedStyle(document.documentElement).backgroundColor;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    blob = await new Promise((resolve) =>
      canvas.toBlob((made) => resolve(/** @type {Blob} */ (made))),
    );
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${name}.${kind}`;
  link.click();
  URL.revokeObjectURL(link.href);
}
