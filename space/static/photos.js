() => {
  // A drawn picture, a pasted one, or one that is dropped anywhere on a tab becomes the photo of the tabs.
  const choose = (file) => {
    const input = document.getElementById("use-photo")?.parentElement.querySelector("input[type=file]");
    if (!input || !file) return false;
    const transfer = new DataTransfer();
    transfer.items.add(file);
    input.files = transfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    return true;
  };
  document.addEventListener("click", async ({ target }) => {
    if (!target.matches?.(".tiles button.use")) return;
    const image = target.closest("figure").querySelector("img");
    const blob = await (await fetch(image.src)).blob();
    // The photo of this tab stays; a tab that is opened before the upload ends is filled in.
    const here = [...document.querySelectorAll(".photo")].filter((photo) => photo.offsetParent);
    if (!choose(new File([blob], "drawn.png", { type: blob.type }))) return;
    window.cstPhotosHere = here.map(({ id }) => id);
    target.textContent = "Sent to the other tabs";
  });
  const isPicture = (file) => /^image\//.test(file.type) || /\.(jxl|heic|avif)$/i.test(file.name);
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find(isPicture);
    if (!file || event.target.closest?.(".photo, .canvas")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    choose(file);
  }, true);
  let own = false;  // a picture of this page is dragged
  document.addEventListener("dragstart", () => { own = true; });
  document.addEventListener("dragend", () => { own = false; });
  const elsewhere = (event) => !own && [...event.dataTransfer.types].includes("Files") && !event.target.closest?.(".photo, .canvas, #open");
  document.addEventListener("dragover", (event) => { if (elsewhere(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    if (!elsewhere(event)) return;
    event.preventDefault();
    choose([...event.dataTransfer.files].find(isPicture));
  });
}
