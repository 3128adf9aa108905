// Show some of the rows. Without scripts all of them are there, and the bar that chooses is not.
const bar = document.querySelector("nav"), words = bar.querySelector("input");
let chosen = "all";
function show() {
  const wanted = words.value.toLowerCase();
  for (const row of document.querySelectorAll(".clauses tbody tr"))
    row.hidden = !((chosen === "all" || row.classList.contains(chosen)) && row.textContent.toLowerCase().includes(wanted));
  for (const part of document.querySelectorAll("section[id]")) part.hidden = !part.querySelector("tbody tr:not([hidden])");
  for (const button of bar.querySelectorAll("button")) button.classList.toggle("on", button.dataset.show === chosen);
}
bar.addEventListener("click", event => { chosen = event.target.dataset.show || chosen; show(); });
words.addEventListener("input", show);
bar.hidden = false;
show();
