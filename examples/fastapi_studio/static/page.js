// The studio's page. Whatever people and servers have written is shown as text, never as markup.
"use strict";

const $ = (selector, inside = document) => inside.querySelector(selector);
const cards = new Map(); // by their keys: the last state received of each, and its article

// --- compose

const parts = () => [$("#scene").value.trim(), isClip() ? $("#camera").value : "", $("#look").value];
const prompt = () => parts().filter(Boolean).map((part) => part.replace(/[.\s]+$/, "")).join(". ");
const isClip = () => $("#model").value === "seedance2";

const request = () => {
  const model = $("#model").value;
  if (isClip()) return { model, prompt: prompt(), aspect_ratio: $("#shape").value, duration: Number($("#seconds").value) };
  return { model, prompt: prompt(), [model === "gpt-image-2" ? "aspect_ratio" : "image_size"]: $("#shape").value };
};

const preview = () => {
  for (const field of document.querySelectorAll(".clip")) field.hidden = !isClip();
  $("#prompt").textContent = prompt() || "…";
  $("output").textContent = $("#seconds").value;
};

const newKey = () => {
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // randomUUID is missing on plain http
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
};

const send = (key, body) =>
  fetch("cards", {
    method: "POST",
    headers: { "Content-Type": "application/json", "Idempotency-Key": key },
    body: JSON.stringify(body),
  });

const reasons = async (answer) => {
  const said = await answer.json().catch(() => ({}));
  if (Array.isArray(said.detail)) return said.detail.map((each) => `${each.loc[each.loc.length - 1]}: ${each.msg}`);
  return [said.detail || `the server answered ${answer.status}`];
};

const tell = (lines) => {
  $("#problems").replaceChildren(
    ...lines.map((line) => Object.assign(document.createElement("li"), { textContent: line })),
  );
};

// --- what the prompt guide says, while somebody composes

const finding = ({ level, excerpt, reason }) => {
  const item = document.createElement("li");
  item.dataset.level = level;
  item.dir = "auto";
  const head = Object.assign(document.createElement("b"), { textContent: `${level}: ` });
  item.append(head, excerpt ? `“${excerpt}” ${reason}` : reason);
  return item;
};

const advise = (found) => {
  const items = found.map(finding);
  const said = (all) => [...all].map((item) => item.textContent).join("\n");
  if (said(items) === said($("#findings").children)) return; // so that nothing is read out twice
  $("#findings").replaceChildren(...items);
  $("#submit").textContent = found.some(({ level }) => level === "error") ? "Make it anyway" : "Make it";
};

let asking = new AbortController();
const lint = async () => {
  asking.abort(); // the answer to what was written before
  asking = new AbortController();
  const { signal } = asking;
  if (prompt().length < 3) return advise([]); // too short to be sent
  await new Promise((resolve) => setTimeout(resolve, 300));
  if (signal.aborted) return;
  const call = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(request()), signal };
  const answer = await fetch("lint", call).catch(() => null);
  const found = answer && answer.ok ? await answer.json().catch(() => []) : [];
  if (!signal.aborted) advise(found);
};

// A key belongs to what was composed: pressed again after a lost answer, it is the same card.
let key = newKey();
$("#compose").addEventListener("input", () => { key = newKey(); preview(); lint(); });
$("#compose").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("#submit").disabled = true;
  try {
    const answer = await send(key, request());
    tell(answer.ok ? [] : await reasons(answer));
    if (answer.ok) key = newKey();
  } catch {
    tell(["The server does not answer. Press again: nothing is made twice."]);
  }
  $("#submit").disabled = false;
});

// --- cards

const words = { sending: "is being sent", running: "is being made", done: "", failed: "failed", open: "not collected yet" };

const facts = (card) => {
  const { model, duration, aspect_ratio: ratio, image_size: size } = card.request;
  const credits = card.credits === undefined || card.credits === null ? "" : `${card.credits} credits`;
  return [words[card.state], model, duration && `${duration} s`, ratio || size, credits].filter(Boolean).join(" · ");
};

const fill = (place, card) => {
  const names = card.files || [];
  if (card.state !== "done" || place.classList.contains("filled")) return;
  const clip = names.find((name) => /\.(mp4|mov|webm|mkv)$/.test(name));
  const pictures = names.filter((name) => name !== clip);
  const shown = clip ? [video(clip, pictures[0])] : pictures.map(picture);
  place.replaceChildren(...shown);
  place.classList.add("filled");
};

const address = (name) => `files/${encodeURIComponent(name)}`;
const video = (name, poster) => {
  const element = document.createElement("video");
  Object.assign(element, { src: address(name), controls: true, loop: true, muted: true, playsInline: true, preload: "metadata" });
  if (poster) element.poster = address(poster);
  return element;
};
const picture = (name) => Object.assign(document.createElement("img"), { src: address(name), alt: "the picture", loading: "lazy" });

const again = (button, card) => {
  const label = { open: "Collect it", failed: "Make it again" }[card.state];
  button.hidden = !label;
  button.textContent = label || "";
  button.onclick = async () => {
    button.disabled = true;
    const answer = await send(card.state === "open" ? card.key : newKey(), card.request).catch(() => null);
    if (!answer || !answer.ok) tell(answer ? await reasons(answer) : ["The server does not answer."]);
    button.disabled = false;
  };
};

const draw = (card) => {
  const known = cards.get(card.key);
  const article = known ? known.article : $("#card").content.firstElementChild.cloneNode(true);
  if (!known) {
    const older = [...cards.values()].filter((other) => other.card.asked_at < card.asked_at);
    const next = older.sort((one, other) => other.card.asked_at - one.card.asked_at)[0];
    $("#cards").insertBefore(article, next ? next.article : null); // the newest comes first
  }
  cards.set(card.key, { card, article });
  article.dataset.state = card.state;
  $(".prompt", article).textContent = card.request.prompt;
  $(".facts", article).textContent = facts(card);
  $(".reason", article).textContent = card.reason || "";
  $(".reason", article).hidden = !card.reason || card.state === "done";
  const progress = $("progress", article);
  if (progress) progress.hidden = !["sending", "running"].includes(card.state);
  fill($(".media", article), card);
  again($(".again", article), card);
  $("#none").hidden = true;
};

// How far a card may be, by what jobs like it took; nearly full until it is there.
setInterval(() => {
  for (const { card, article } of cards.values()) {
    const progress = $("progress", article);
    if (progress && card.state === "running" && card.expected) {
      progress.value = 96 * (1 - Math.exp(-1.5 * (Date.now() / 1000 - card.sent_at) / card.expected));
    }
  }
}, 250);

// --- what the server reports

const number = (value) => (value === null ? "not known" : value.toLocaleString());
const gauges = (state) => {
  $("#requests").max = state.requests_most;
  $("#requests").value = state.requests_free;
  $("#requests-text").textContent = `${state.requests_free} of ${state.requests_most}`;
  $("#spent").textContent = number(state.credits_spent);
  $("#balance").textContent = number(state.balance);
};

const source = new EventSource("events");
const line = (text, broken) => { $("#line").textContent = text; $("#line").classList.toggle("broken", broken); };
source.onopen = () => line("live", false);
source.onerror = () => line("connection lost, coming back…", true);
source.addEventListener("card", (event) => draw(JSON.parse(event.data)));
source.addEventListener("gauges", (event) => gauges(JSON.parse(event.data)));

preview();
