// A clip plays while the pointer or the focus is on it, and goes back to its poster afterwards.
for (const clip of document.querySelectorAll("video")) {
  const link = clip.closest("a");
  const play = () => clip.play().catch(() => {});
  const rest = () => { clip.pause(); clip.load(); };
  link.addEventListener("pointerenter", play);
  link.addEventListener("focus", play);
  link.addEventListener("pointerleave", rest);
  link.addEventListener("blur", rest);
}

// The state in the address and the words in the field say which cards are seen; the state goes along to other pages.
const cards = [...document.querySelectorAll("figure")];
const search = document.querySelector("input");
const filter = () => {
  const state = decodeURIComponent(location.hash.slice(1));
  const words = search.value.toLowerCase();
  for (const card of cards) {
    card.hidden = (state && card.dataset.state !== state) || !card.textContent.toLowerCase().includes(words);
  }
  for (const button of document.querySelectorAll(".tools button")) {
    button.ariaPressed = button.dataset.state === state;
  }
  for (const page of document.querySelectorAll(".pages a")) {
    page.hash = location.hash;
    page.classList.toggle("without", state && !page.dataset.states.split(" ").includes(state));
  }
  document.querySelector("#none").hidden = cards.some((card) => !card.hidden);
};
for (const button of document.querySelectorAll(".tools button")) {
  button.addEventListener("click", () => { location.hash = encodeURIComponent(button.dataset.state); });
}
addEventListener("hashchange", filter);
search.addEventListener("input", filter);
filter();

// A prompt is copied as it was sent.
for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const text = button.closest("figure").querySelector("figcaption p").textContent;
    const done = await copied(text);
    button.textContent = done ? "copied" : "not allowed";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
}
