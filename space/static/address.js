() => {
  // The tab in the address: `?tab=sketch` opens the second one, and Back returns to the one before.
  const tabs = () => [...document.querySelectorAll("#tabs > .tab-wrapper [role=tab]")];
  const name = (tab) => tab.textContent.trim().toLowerCase().replaceAll(" ", "-");
  const wanted = () => new URLSearchParams(location.search).get("tab");
  const show = () => {
    const tab = tabs().find((each) => name(each) === wanted()) ?? tabs()[0];
    if (tab && tab.getAttribute("aria-selected") !== "true") tab.click();
  };
  document.addEventListener("click", (event) => {
    const tab = tabs().find((each) => each.contains(event.target));
    if (!tab || !event.isTrusted || name(tab) === wanted()) return;
    const query = new URLSearchParams(location.search);
    for (const key of [...query.keys()]) if (!key.startsWith("__")) query.delete(key);
    query.set("tab", name(tab));
    history.pushState(null, "", `?${query}`);
  });
  addEventListener("popstate", show);
  const observer = new MutationObserver(() => {
    if (tabs().length === 0 || !document.getElementById("restore")) return;
    observer.disconnect();
    if (wanted()) show();
    const fields = [...new URLSearchParams(location.search).keys()].filter((key) => key !== "tab" && !key.startsWith("__"));
    if (wanted() === "sample" && fields.length) document.getElementById("restore")?.click();
  });
  observer.observe(document.body, { childList: true, subtree: true });
}
