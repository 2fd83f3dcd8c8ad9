() => {
  // The pictures that were drawn before stay in a strip below the new ones. They are kept by the browser alone.
  const KEPT = 12;
  const results = new Map();  // strip -> results, the newest first
  const finished = (panel) => panel.querySelector(".live .tiles figcaption a[download]");
  const show = (panel, result) => {
    panel.classList.toggle("shows-earlier", Boolean(result));
    panel.querySelector(".viewer .prose").innerHTML = result ? result.live + result.table : "";
  };
  const fill = (panel, strip) => {
    const kept = results.get(strip), list = document.createElement("div");
    kept.forEach((result, index) => {
      const button = document.createElement("button"), image = document.createElement("img");
      button.type = "button";
      button.ariaLabel = button.title = index ? result.words : "The last pictures";
      image.src = result.image;
      image.alt = "";
      button.append(image);
      button.addEventListener("click", () => show(panel, index ? result : null));
      list.append(button);
    });
    strip.replaceChildren();
    if (kept.length < 2) return;
    const title = document.createElement("h2");
    title.className = "label";
    title.textContent = "Earlier pictures";
    strip.append(title, list);
  };
  const look = () => {
    for (const strip of document.querySelectorAll(".earlier .prose")) {
      const panel = strip.closest(".result"), kept = results.get(strip) ?? [];
      if (!panel.querySelector(".live .tiles")) continue;
      if (!finished(panel)) { if (panel.classList.contains("shows-earlier")) show(panel, null); continue; }
      const html = (selector) => panel.querySelector(selector)?.innerHTML ?? "";
      const result = {
        image: panel.querySelector(".live .tiles img").src,
        live: html(".live:has(.tiles) .prose"),
        table: html(".drawn:not(.viewer) .prose"),
        words: panel.querySelector(".live:has(.tiles) .words").firstChild.textContent,
      };
      if (kept[0]?.live === result.live) { kept[0].table = result.table; continue; }
      show(panel, null);
      results.set(strip, [result, ...kept].slice(0, KEPT));
      fill(panel, strip);
    }
  };
  let planned = false;
  new MutationObserver(() => {
    if (planned) return;
    planned = true;  // the table arrives a moment after the pictures
    setTimeout(() => { planned = false; look(); }, 100);
  }).observe(document.body, { childList: true, subtree: true });
}
