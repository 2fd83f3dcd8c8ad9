() => {
  // What Gradio leaves to the mouse alone.

  // A slider tells that it was moved when the mouse lets go of it; the arrow keys let go too.
  const moving = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"];
  document.addEventListener("keyup", (event) => {
    if (event.target.type === "range" && moving.includes(event.key))
      event.target.dispatchEvent(new PointerEvent("pointerup", { bubbles: true }));
  });

  // Its number tells so whenever the focus leaves it; where nothing was typed, nothing is told.
  const isNumber = (element) => element.dataset?.testid === "number-input";
  const typed = new WeakMap();
  document.addEventListener("focus", ({ target }) => isNumber(target) && typed.set(target, target.value), true);
  document.addEventListener("blur", (event) => {
    if (isNumber(event.target) && typed.get(event.target) === event.target.value) event.stopPropagation();
  }, true);

  // The line between two pictures can only be dragged: it becomes a slider, whose keys drag it.
  const steps = { ArrowLeft: -0.05, ArrowDown: -0.05, ArrowRight: 0.05, ArrowUp: 0.05, Home: -1, End: 1 };
  const share = (line) => {
    const all = line.parentElement.getBoundingClientRect(), own = line.getBoundingClientRect();
    return (own.x + own.width / 2 - all.x) / all.width;
  };
  const drag = (line, to) => {
    const all = line.parentElement.getBoundingClientRect(), own = line.getBoundingClientRect();
    const at = (type, x) => new MouseEvent(type, {
      bubbles: true, cancelable: true, view: window, clientX: x, clientY: all.y + all.height / 2,
    });
    line.dispatchEvent(at("mousedown", own.x + own.width / 2));
    window.dispatchEvent(at("mousemove", all.x + to * all.width));
    window.dispatchEvent(at("mouseup", all.x + to * all.width));
    line.focus({ focusVisible: true });
  };
  const tell = (line) => line.setAttribute("aria-valuenow", Math.round(100 * share(line)));
  document.addEventListener("keydown", (event) => {
    const line = event.target;
    if (line.dataset?.testid !== "slider" || !(event.key in steps)) return;
    event.preventDefault();
    drag(line, Math.min(1, Math.max(0, share(line) + steps[event.key])));
    requestAnimationFrame(() => tell(line));
  });
  document.addEventListener("focusin", (event) => event.target.dataset?.testid === "slider" && tell(event.target));
  new MutationObserver(() => {
    for (const line of document.querySelectorAll('[data-testid="slider"][role="none"]')) {
      line.setAttribute("role", "slider");
      line.setAttribute("aria-label", "share of the left picture, percent");
      line.setAttribute("aria-valuemin", 0);
      line.setAttribute("aria-valuemax", 100);
      line.tabIndex = 0;
      tell(line);
    }
  }).observe(document.body, { childList: true, subtree: true });
}
