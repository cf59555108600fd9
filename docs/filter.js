// A search field and a list of values for each short column, above the table after <div data-filter></div>.
document.addEventListener("DOMContentLoaded", () => {
  for (const place of document.querySelectorAll("[data-filter]")) {
    let next = place.nextElementSibling;
    while (next && !next.querySelector("table") && next.tagName !== "TABLE") next = next.nextElementSibling;
    const table = next && (next.tagName === "TABLE" ? next : next.querySelector("table"));
    if (!table) continue;
    const rows = [...table.tBodies[0].rows];
    const wanted = new Map();
    const count = document.createElement("span");
    count.setAttribute("role", "status");

    const show = () => {
      let left = 0;
      for (const row of rows) {
        const fits = [...wanted].every(([column, value]) =>
          column < 0 ? row.textContent.toLowerCase().includes(value) : row.cells[column].textContent.trim() === value);
        row.hidden = !fits;
        left += fits;
      }
      count.textContent = `${left} of ${rows.length}`;
    };
    const choose = (column, value) => {
      value ? wanted.set(column, value) : wanted.delete(column);
      show();
    };
    const add = (name, field) => {
      const label = document.createElement("label");
      label.append(name, field);
      place.append(label);
    };

    const search = document.createElement("input");
    search.type = "search";
    search.addEventListener("input", () => choose(-1, search.value.trim().toLowerCase()));
    add("any word", search);
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const values = [...new Set(rows.map((row) => row.cells[column].textContent.trim()))].sort();
      if (values.length < 2 || values.length > 4) return;
      const list = document.createElement("select");
      for (const value of ["", ...values]) list.append(new Option(value || "any", value));
      list.addEventListener("change", () => choose(column, list.value));
      add(head.textContent.trim(), list);
    });
    place.append(count);
    place.className = "filter";
    show();
  }
});
