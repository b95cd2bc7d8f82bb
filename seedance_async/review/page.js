// Text of prompts, names, notes and errors goes into the page as text only: by textContent, value and properties.

const TOKEN = location.pathname.split("/")[1];
const STEP = 60; // cards that are made at a time
const $ = (selector, inside = document) => inside.querySelector(selector);
const $$ = (selector, inside = document) => [...inside.querySelectorAll(selector)];

let takes = [];
let filter = "all";
let shown = STEP;
let current = 0; // place among the takes that the filter lets through
let said = 0;
let unsaved = null; // the note that is being typed: what writes it down, and when
const queue = []; // changes to write; the first one is under way
let written = Promise.resolve(); // when the queue is empty

const tell = (text, trouble = false) => {
  const status = $("#status");
  status.textContent = text;
  status.classList.toggle("trouble", trouble);
};

const ask = async (path, options = {}) => {
  const answer = await fetch(new URL(path, location.href), { referrerPolicy: "no-referrer", ...options }).catch(() => {
    throw new Error("the server does not answer; is `seedance review` still running?");
  });
  const body = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
  if (!answer.ok) throw new Error(body.error || `the server answered ${answer.status}`);
  return body;
};

const lets = (take) => filter === "all" || (filter === "undecided" ? take.pick === null : take.pick === filter);
const visible = () => takes.filter((take) => take.stays || lets(take));
const key = (take) => JSON.stringify(take.task_ids.length ? take.task_ids : take.name);

// --- cards

const media = (take, place) => {
  if (!take.files.length) {
    const missing = document.createElement("p");
    missing.className = "missing";
    missing.textContent = take.state === "saved" ? "no files" : take.state;
    place.append(missing);
    return;
  }
  const clip = take.files.find((file) => file.kind === "clip");
  const pictures = take.files.filter((file) => file.kind === "picture");
  if (clip) {
    const video = document.createElement("video");
    Object.assign(video, { src: address(clip), controls: true, loop: true, muted: true, playsInline: true, preload: "none" });
    video.setAttribute("aria-label", `clip ${take.name}`);
    if (pictures.length) video.poster = address(pictures[0]);
    else video.preload = "metadata";
    video.addEventListener("pointerenter", () => { if (video.paused) { video.byPointer = true; play(video); } });
    video.addEventListener("pointerleave", () => { if (video.byPointer) video.pause(); video.byPointer = false; });
    video.addEventListener("click", () => { video.byPointer = false; });
    place.append(video);
    return;
  }
  place.classList.toggle("several", pictures.length > 1);
  for (const picture of pictures) {
    const link = document.createElement("a");
    Object.assign(link, { href: address(picture), target: "_blank", rel: "noopener noreferrer" });
    const image = document.createElement("img");
    Object.assign(image, { src: address(picture), alt: `picture ${take.name}`, loading: "lazy" });
    link.append(image);
    place.append(link);
  }
};

const address = (file) => `files/${file.path.split("/").map(encodeURIComponent).join("/")}`;
const play = (video) => video.play().catch(() => {});

const facts = (take) => {
  const credits = take.credits_used === null ? [] : [`${take.credits_used - (take.credits_refunded || 0)} credits`];
  const others = Object.entries(take.facts).map(([name, value]) => `${name} ${value}`);
  return [take.state, take.model, ...credits, ...others].join(" · ");
};

const card = (take) => {
  const article = $("template").content.firstElementChild.cloneNode(true);
  media(take, $(".media", article));
  $("bdi", article).textContent = take.name;
  $(".prompt", article).textContent = take.prompt;
  $(".facts", article).textContent = facts(take);
  $(".error", article).textContent = take.error || "";
  $(".error", article).hidden = !take.error;
  const hint = $(".hint", article);
  hint.hidden = !take.many_rejected;
  hint.textContent = `${take.many_rejected} takes of ${take.shot} are rejected: change the prompt rather than make another`;
  const note = $("textarea", article);
  note.setAttribute("aria-label", `note on ${take.name}`);
  note.addEventListener("input", () => { save(take, note); });
  note.addEventListener("blur", flush);
  $(".choices", article).setAttribute("aria-label", `pick of ${take.name}`);
  for (const button of $$(".choices button", article)) {
    button.setAttribute("aria-label", `${button.dataset.pick} ${take.name}`);
    button.addEventListener("click", () => { makeCurrent(take); choose(take, button.dataset.pick); });
  }
  if (!take.task_ids.length) {
    $(".choices", article).hidden = true;
    $("label", article).hidden = true;
  }
  article.addEventListener("pointerdown", () => makeCurrent(take));
  article.addEventListener("focusin", () => makeCurrent(take));
  take.article = article;
  note.value = take.note;
  refresh(take);
  return article;
};

const refresh = (take) => {
  if (!take.article) return;
  take.article.dataset.pick = take.pick || "";
  for (const button of $$(".choices button", take.article)) {
    button.setAttribute("aria-pressed", String(button.dataset.pick === take.pick));
  }
};

const draw = () => {
  const list = visible();
  current = Math.max(0, Math.min(current, list.length - 1));
  shown = Math.max(shown, current + 1);
  $("main").replaceChildren(...list.slice(0, shown).map((take) => take.article || card(take)));
  $("#more").hidden = list.length <= shown;
  $("#none").hidden = list.length > 0;
  for (const button of $$("nav [data-filter]")) {
    button.setAttribute("aria-pressed", String(button.dataset.filter === filter));
  }
  count();
  mark();
};

const count = () => {
  const counts = { all: takes.length, undecided: 0, keep: 0, reject: 0 };
  for (const take of takes) counts[take.pick || "undecided"] += 1;
  for (const button of $$("nav [data-filter]")) $("b", button).textContent = counts[button.dataset.filter];
  const jobs = takes.filter((take) => take.pick === "reject" && take.name === take.shot); // not earlier takes
  $("[data-command=reroll] h3 b").textContent = `(${jobs.length} rejected)`;
  $("[data-command=finish] h3 b").textContent = `(${counts.keep} kept)`;
};

const mark = () => {
  const now = visible()[current];
  for (const article of $$("article.current")) article.classList.remove("current");
  if (now && now.article) {
    now.article.classList.add("current");
  }
  return now;
};

const makeCurrent = (take) => {
  const place = visible().indexOf(take);
  if (place >= 0) { current = place; mark(); }
};

// --- notes, written down while they are typed

const flush = () => {
  if (!unsaved) return;
  clearTimeout(unsaved.timer);
  const { take, note } = unsaved;
  unsaved = null;
  if (note.value !== take.note) write(take, { note: note.value });
};

const save = (take, note) => {
  if (unsaved && unsaved.note !== note) flush();
  if (unsaved) clearTimeout(unsaved.timer);
  unsaved = { take, note, timer: setTimeout(flush, 600) };
};

// --- what is not written when the page is left

// The browser sends these requests after the page is gone, but a page that is loaded again may ask for the
// takes before they arrive. So it finds the changes here, too, and writes them first.
const LEFT = `left-${TOKEN}`;
const LEFT_LASTS = 10000; // ms; somebody may have changed more since

const leave = () => {
  flush();
  const bodies = queue.map(bodyOf);
  try {
    if (bodies.length) sessionStorage.setItem(LEFT, JSON.stringify({ at: Date.now(), bodies }));
  } catch { /* a browser that keeps nothing for pages */ }
  const latest = new Map();
  for (const body of bodies.slice(1)) latest.set(body.name, { ...latest.get(body.name), ...body });
  queue.splice(1);
  for (const body of latest.values()) post(body).catch(() => {});
};
addEventListener("pagehide", leave);

const writeLeft = async () => {
  let left = null;
  try {
    left = JSON.parse(sessionStorage.getItem(LEFT));
    sessionStorage.removeItem(LEFT);
  } catch { /* as above */ }
  if (!left || Date.now() - left.at > LEFT_LASTS) return;
  for (const body of left.bodies) await post(body).catch((problem) => tell(`${body.name}: ${problem.message}`, true));
};

// --- what a person does

const move = (step) => {
  current = Math.max(0, Math.min(current + step, visible().length - 1));
  if (current >= shown) { shown = current + STEP; draw(); }
  const now = mark();
  if (!now) return;
  now.article.focus({ preventScroll: true });
  now.article.scrollIntoView({ block: "nearest" });
};

// A second press takes the pick back. A take stays where it is until the list is drawn again.
const choose = (take, pick) => write(take, { pick: take.pick === pick ? null : pick });

// Writes go one after the other, so the last one is the last on record as well.
const write = (take, change) => {
  if (!take.task_ids.length) { tell(`${take.name} has no take that could be picked`, true); return; }
  queue.push({ take, change });
  if (queue.length === 1) written = writeAll();
};

const writeAll = async () => {
  for (; queue.length; queue.shift()) await writeNow(queue[0]);
};

const bodyOf = ({ take, change }) => ({ name: take.name, task_ids: take.task_ids, ...change });

const post = (body) => {
  const headers = { "Content-Type": "application/json", "X-Review-Token": TOKEN };
  return ask("picks", { method: "POST", headers, body: JSON.stringify(body), keepalive: true });
};

const writeNow = async (job) => {
  const { take, change } = job;
  const turn = ++said;
  try {
    const pick = await post(bodyOf(job));
    take.stays = true;
    Object.assign(take, { pick: pick.pick, note: pick.note });
    const word = { keep: "kept", reject: "rejected" }[pick.pick] || "undecided";
    if (turn === said) tell("note" in change ? `the note on ${take.name} is written down` : `${take.name}: ${word}`);
  } catch (problem) {
    tell(`${take.name}: ${problem.message}`, true); // a note stays as it was typed
  }
  refresh(take);
  count();
};

const load = async (words) => {
  flush();
  await written;
  const before = visible()[current];
  try {
    const found = await ask("takes");
    takes = found.takes;
    $("h1").textContent = document.title = `Review of ${found.directory}`;
    for (const [name, command] of Object.entries(found.commands)) $(`[data-command=${name}] > code`).textContent = command;
    const place = before ? visible().findIndex((take) => key(take) === key(before)) : 0;
    current = Math.max(0, place);
    draw();
    tell(takes.length ? words : "No results yet. A batch that runs adds them as its jobs end: reload.");
  } catch (problem) {
    tell(problem.message, true);
  }
};

const KEYS = {
  1: "keep", k: "keep", 2: "reject", r: "reject", 3: "undecide", u: "undecide", 4: "note", n: "note",
  5: "play", p: "play", arrowright: "next", j: "next", arrowleft: "previous",
};

const act = (deed) => {
  const take = visible()[current];
  if (!take) return;
  if (deed === "next") move(1);
  else if (deed === "previous") move(-1);
  else if (deed === "undecide") write(take, { pick: null });
  else if (deed === "note") $("textarea", take.article).focus();
  else if (deed === "play") {
    const video = $("video", take.article);
    if (video) { if (video.paused) play(video); else video.pause(); }
  } else write(take, { pick: deed });
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const field = event.target.closest("textarea");
  if (field) {
    if (event.key === "Escape") field.closest("article").focus();
    return;
  }
  if (event.target.closest("video") && event.key.startsWith("Arrow")) return; // its own keys
  const deed = KEYS[event.key.toLowerCase()];
  if (!deed || event.repeat && !["next", "previous"].includes(deed)) return;
  event.preventDefault();
  act(deed);
});

for (const button of $$("nav [data-filter]")) {
  button.addEventListener("click", () => {
    filter = button.dataset.filter;
    for (const take of takes) take.stays = false;
    current = 0;
    shown = STEP;
    draw();
  });
}
$("#reload").addEventListener("click", () => load("read again"));
$("#more").addEventListener("click", () => { shown += STEP; draw(); });

for (const button of $$(".copy")) {
  button.addEventListener("click", async () => {
    const text = $("code", button.parentElement).textContent;
    const done = await copied(text);
    tell(done ? "the command is copied" : "the browser does not allow copying", !done);
  });
}

writeLeft().then(() => load(""));
