// One key for each place, and arrows to the frame before and after, where nobody types and no dialog is open.
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector(".q-dialog, .labelling")) return;
  if (event.target.closest("input, textarea, select, [contenteditable]")) return;
  const place = document.querySelector(`a[data-key="${CSS.escape(event.key)}"]`);
  if (place) {
    event.preventDefault();
    place.click();
  }
});
// Sliders set how much is seen of what lies over a frame, without a word to the server.
addEventListener("input", (event) => {
  const { sets } = event.target.dataset;
  if (sets) event.target.closest(".sees").style.setProperty(`--${sets}`, event.target.value / 100);
});
