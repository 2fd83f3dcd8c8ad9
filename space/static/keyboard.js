() => {
  // Keyboard access to controls that Gradio only offers to the mouse. If Gradio changes, the page works without this.

  // A slider reports a move when the mouse releases it; here the arrow keys release it too.
  const moving = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"];
  document.addEventListener("keyup", (event) => {
    if (event.target.type === "range" && moving.includes(event.key))
      event.target.dispatchEvent(new PointerEvent("pointerup", { bubbles: true }));
  });

  // Its number field reports a change whenever it loses focus; here only if something was typed.
  const isNumber = (element) => element.dataset?.testid === "number-input";
  const typed = new WeakMap();
  document.addEventListener("focus", ({ target }) => isNumber(target) && typed.set(target, target.value), true);
  document.addEventListener("blur", (event) => {
    if (isNumber(event.target) && typed.get(event.target) === event.target.value) event.stopPropagation();
  }, true);

  // The line between two pictures can only be dragged; here it becomes a slider that the keys drag.
  const steps = { ArrowLeft: -5, ArrowDown: -5, ArrowRight: 5, ArrowUp: 5, Home: -100, End: 100 };
  const isLine = (element) => element?.dataset?.testid === "slider";
  const setValue = (line, percent) => line.setAttribute("aria-valuenow", Math.round(percent));
  const middle = ({ x, width }) => x + width / 2;
  const picture = (line) => {  // its horizontal extent: it may be narrower than its box
    const image = line.parentElement.querySelector("img"), box = image.getBoundingClientRect();
    const width = Math.min(box.width, (box.height * image.naturalWidth) / image.naturalHeight || box.width);
    return { x: middle(box) - width / 2, y: middle({ x: box.y, width: box.height }), width };
  };
  const readValue = (line) => {
    const { x, width } = picture(line);
    setValue(line, (100 * (middle(line.getBoundingClientRect()) - x)) / width);
  };
  const drag = (line, percent) => {
    const { x, y, width } = picture(line);
    const at = (type, clientX) =>
      new MouseEvent(type, { bubbles: true, cancelable: true, view: window, clientX, clientY: y });
    line.dispatchEvent(at("mousedown", middle(line.getBoundingClientRect())));
    window.dispatchEvent(at("mousemove", x + (percent / 100) * width));
    window.dispatchEvent(at("mouseup", x + (percent / 100) * width));
    line.focus({ focusVisible: true });
    setValue(line, percent);
  };
  document.addEventListener("keydown", (event) => {
    if (!isLine(event.target) || !(event.key in steps)) return;
    event.preventDefault();
    drag(event.target, Math.min(100, Math.max(0, Number(event.target.ariaValueNow) + steps[event.key])));
  });
  addEventListener("mouseup", ({ isTrusted }) => {
    if (isTrusted) document.querySelectorAll('[data-testid="slider"]').forEach((line) => setTimeout(readValue, 300, line));
  }, true);
  new MutationObserver(() => {
    for (const line of document.querySelectorAll('[data-testid="slider"][role="none"]')) {
      line.setAttribute("role", "slider");
      line.setAttribute("aria-label", "share of the left picture, percent");
      line.setAttribute("aria-valuemin", 0);
      line.setAttribute("aria-valuemax", 100);
      line.tabIndex = 0;
      readValue(line);
    }
  }).observe(document.body, { childList: true, subtree: true });
}
