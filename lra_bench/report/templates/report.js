// Sorts a table by the column whose header button is pressed; pressing again turns the order around.
document.querySelectorAll("table.sortable").forEach((table) => {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const down = header.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const compare = (a, b) => {
        const [x, y] = [Number(value(a)), Number(value(b))];
        if (!Number.isNaN(x) && !Number.isNaN(y)) return down ? y - x : x - y;
        if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
        return value(a).localeCompare(value(b)) * (down ? -1 : 1);
      };
      body.append(...Array.from(body.rows).sort(compare));
    });
  });
});
