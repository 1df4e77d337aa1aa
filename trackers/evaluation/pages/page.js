// Tables are sorted by the column whose heading is pressed, by mouse or keyboard. Missing numbers stay at the end.
"use strict";

function sort(table, column, descending) {
  const value = (row) => {
    const cell = row.cells[column];
    if (!cell.hasAttribute("data-value")) return cell.textContent.trim();
    return cell.dataset.value === "" ? NaN : Number(cell.dataset.value);
  };
  const order = (a, b) => {
    const [left, right] = [value(a), value(b)];
    if (typeof left === "string") {
      return (descending ? -1 : 1) * left.localeCompare(right, undefined, { numeric: true });
    }
    if (Number.isNaN(left) || Number.isNaN(right)) return Number.isNaN(left) - Number.isNaN(right);
    return descending ? right - left : left - right;
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    const arrow = document.createElement("span");
    arrow.className = "arrow";
    arrow.ariaHidden = "true";
    button.firstElementChild[head.classList.contains("number") ? "before" : "after"](arrow);
    head.append(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      // Numbers begin with the largest, names with the first of the alphabet.
      const descending = before ? before === "ascending" : head.classList.contains("number");
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sort(table, column, descending);
    });
  });
}
