/* Runs in Netron's page while a picture is made: waits for the drawing, takes it out as Netron exports it, hands it back. */
(function () {
  "use strict";
  const base = new URL(".", location.href).href;
  const wanted = new URLSearchParams(location.search);

  function send(what, body) {
    return fetch(base + "result/" + what, { method: "POST", body: body });
  }

  /* Netron exports what its style sheet says to light pages only; the rules for dark ones are put among them. */
  function darken() {
    for (const sheet of document.styleSheets) {
      if (!sheet.href || !sheet.href.endsWith("/grapher.css")) continue;
      for (const rule of Array.from(sheet.cssRules)) {
        if (!rule.media || rule.media.mediaText !== "all") continue;
        for (const inner of rule.cssRules) sheet.insertRule(inner.cssText, sheet.cssRules.length);
      }
    }
  }

  /* Boxes fit the fonts of this machine: texts are told how long to be, so that they fit with those of any other. */
  function measured() {
    for (const text of document.querySelectorAll("#canvas text")) {
      const length = text.getComputedTextLength();
      if (length > 0) {
        text.setAttribute("textLength", length.toFixed(2));
        text.setAttribute("lengthAdjust", "spacingAndGlyphs");
      }
    }
  }

  async function picture(view) {
    if (wanted.get("theme") === "dark") darken();
    measured();
    let blob = null;
    view._host.export = (name, made) => { blob = made; };
    await view.export("model.svg");
    if (!blob) throw new Error("Netron exported nothing");
    const text = (await blob.text()).replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, "\ufffd"); // names may hold what XML may not
    const made = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
    const background = made.querySelector("#background");
    if (wanted.get("theme") === "dark" && background) background.setAttribute("fill", "#404040");
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = wanted.get("title") || "";
    made.insertBefore(title, made.firstChild);
    made.setAttribute("role", "img");
    const width = Number(made.getAttribute("width")), height = Number(made.getAttribute("height"));
    made.setAttribute("viewBox", "0 0 " + width + " " + height);
    return { svg: new XMLSerializer().serializeToString(made), width: width, height: height };
  }

  /* Two pixels a point, unless a side or the whole gets longer than viewers open. */
  async function painted(drawn) {
    const side = Number(wanted.get("side")), pixels = Number(wanted.get("pixels"));
    const scale = Math.min(2, side / Math.max(drawn.width, drawn.height), Math.sqrt(pixels / (drawn.width * drawn.height)));
    const image = new Image();
    image.src = URL.createObjectURL(new Blob([drawn.svg], { type: "image/svg+xml" }));
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.floor(drawn.width * scale));
    canvas.height = Math.max(1, Math.floor(drawn.height * scale));
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    if (!blob) throw new Error("too large for one PNG");
    return blob;
  }

  async function look() {
    const classes = document.body.classList;
    const message = document.getElementById("message-text");
    if (classes.contains("alert") || classes.contains("message")) {
      clearInterval(timer);
      await send("problem", (message && message.innerText) || "Netron failed without a word");
    } else if (classes.contains("default") && window.__view__ && window.__view__.activeTarget) {
      clearInterval(timer);
      try {
        const drawn = await picture(window.__view__);
        await send("picture", wanted.get("format") === "png" ? await painted(drawn) : drawn.svg);
      } catch (error) {
        await send("problem", String((error && error.message) || error));
      }
    } else if (classes.contains("default") || (classes.contains("welcome") && !classes.contains("spinner") && !classes.contains("notification"))) {
      clearInterval(timer);
      await send("problem", "it finds nothing to draw in the file");
    }
  }

  const timer = setInterval(look, 20);
})();
