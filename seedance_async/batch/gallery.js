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
