/* Runs before Netron. A drawing that mscope made is shown with its parameters, and with every repeated block unfolded. */
(function () {
  "use strict";
  if (!document.querySelector('meta[name="mscope"]')) return;

  function graphs(target, found) {
    for (const node of (target && target.nodes) || []) {
      for (const attribute of node.attributes || []) {
        if (attribute.type === "graph" && attribute.value) {
          found.add(attribute.value);
          graphs(attribute.value, found);
        }
      }
    }
    return found;
  }

  let view;
  Object.defineProperty(window, "__view__", {
    configurable: true,
    get: () => view,
    set: (made) => {
      view = made;
      const render = made.render.bind(made);
      made._options.attributes = true;
      made.render = (target, signature) => {
        const top = made._path[0];
        if (top && !top.state) top.state = { zoom: 1, blocks: graphs(target, new Set()) };
        return render(target, signature);
      };
    },
  });
})();
