// The page: takes a photograph, asks the endpoint by way of the page's own server, and shows what it answered.

import { HeatMap } from "./heatmap.js";

const ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"; // docs/http.md
const PATIENCE = 120_000; // milliseconds: SageMaker's 60 s, and one more attempt
const LONGEST = 1280, SHORTEST = 640; // pixels of the longer side, as drawn
const STAGES = { decode: "reading", infer: "network", encode: "writing", way: "on the way and waiting" };

const part = Object.fromEntries([...document.querySelectorAll("[id]")].map((each) => [each.id, each]));
let about = { endpoint: "", limit: Infinity };
let asking = new AbortController(); // ends what is under way for an earlier photograph
let file = null; // the one that is shown
let view = null; // its heat map, and the scale at which it is drawn
let explains = true; // until the model says that it cannot

// ── Taking a photograph ──

part.file.addEventListener("change", () => {
  take(part.file.files);
  part.file.value = ""; // the same file may be chosen again
});
document.addEventListener("paste", (event) => take(event.clipboardData.files));
document.addEventListener("dragover", (event) => {
  event.preventDefault(); // else the browser opens the file in place of this page
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  take(event.dataTransfer.files);
});
part.again.addEventListener("click", () => show(file));
part.show.addEventListener("change", drawHeat);
part.strength.addEventListener("input", drawHeat);

function take(files) {
  if (files.length) show(files[0]);
}

async function show(chosen) {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  file = chosen;
  begin();
  try {
    const bytes = await read(chosen);
    const [scale, reply] = await Promise.all([showPhotograph(chosen, signal), predict(bytes, signal)]);
    if (!signal.aborted) showReply(reply, scale);
  } catch (error) {
    if (!signal.aborted) showError(error instanceof Trouble ? error.message : String(error));
  } finally {
    if (!signal.aborted) part.waiting.hidden = true;
  }
}

function begin() {
  document.body.classList.add("chosen");
  for (const name of ["photo", "heat", "unseen", "why", "error", "breeds", "none", "times"]) part[name].hidden = true;
  part.result.hidden = part.waiting.hidden = false;
  part.status.textContent = "Asking the endpoint …";
  part.model.textContent = "";
  view = null;
}

// ── Asking ──

// What a person is told in place of an answer.
class Trouble extends Error {}

async function read(chosen) {
  if (chosen.size > about.limit) {
    throw new Trouble(`This file is too large: ${mebibytes(chosen.size)}, and ${mebibytes(about.limit)} is the most.`);
  }
  try {
    return await chosen.arrayBuffer();
  } catch {
    throw new Trouble("This file cannot be read. Is it a folder, or has it changed since?");
  }
}

// Asks with the explanation; a model that has none refuses that (400), as it does a bad picture: asked again without.
async function predict(bytes, signal) {
  if (explains) {
    const reply = await post(bytes, "top_k=5,explain=true", signal);
    if (reply.status !== 400) return accepted(reply);
  }
  const reply = accepted(await post(bytes, "top_k=5", signal));
  explains = false;
  return reply;
}

async function post(body, attributes, signal) {
  const headers = { "Content-Type": "application/octet-stream", [ATTRIBUTES]: attributes };
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]);
  const started = performance.now();
  try {
    const answer = await fetch("predict", { method: "POST", headers, body, signal: deadline });
    const content = await answer.json();
    const took = performance.now() - started;
    return { status: answer.status, content, took, stages: stagesOf(answer.headers.get("Server-Timing") ?? "") };
  } catch (error) {
    if (error.name === "TimeoutError") throw new Trouble("The endpoint did not answer within two minutes.");
    throw new Trouble("This page's own server has ended. Start it again with make ui, then try again.");
  }
}

function accepted(reply) {
  const error = reply.content.error ?? reply.content.predictions?.[0]?.error;
  if (!error) return reply;
  const reason = sentence(error.message);
  if (reply.status === 503 || reply.status === 429) throw new Trouble("The endpoint is busy. Try again in a moment.");
  if (["unreachable", "aws", "timeout"].includes(error.code)) throw new Trouble(reason);
  if (reply.status < 500) throw new Trouble(`The endpoint refused this file. ${reason}`);
  throw new Trouble(`The endpoint failed. ${reason}`);
}

// "decode;dur=3.1, infer;dur=8" to { decode: 3.1, infer: 8 }
function stagesOf(header) {
  return Object.fromEntries([...header.matchAll(/(\w+)\s*;\s*dur=([\d.]+)/g)].map(([, name, text]) => [name, +text]));
}

// ── Showing ──

// Draws the photograph upright and returns the scale; null where the browser cannot.
async function showPhotograph(chosen, signal) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(chosen, { imageOrientation: "from-image" });
  } catch {
    if (!signal.aborted) part.unseen.hidden = !chosen.type.startsWith("image/");
    return null;
  }
  if (signal.aborted) return null;
  const longer = Math.max(bitmap.width, bitmap.height);
  const scale = Math.min(LONGEST, Math.max(SHORTEST, longer)) / longer;
  part.photo.width = part.heat.width = Math.max(1, Math.round(bitmap.width * scale));
  part.photo.height = part.heat.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = part.photo.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, part.photo.width, part.photo.height);
  bitmap.close();
  part.photo.ariaLabel = `The photograph ${chosen.name}`;
  part.photo.hidden = false;
  return scale;
}

function showReply({ content, took, stages }, scale) {
  const [{ top, explanation }] = content.predictions;
  const [best] = top;
  part.status.textContent = `${best.probability < 0.5 ? "Perhaps " : ""}${best.label}, ${percent(best.probability)}`;
  part.breeds.replaceChildren(...top.map(breed));
  part.breeds.hidden = false;
  part.none.hidden = Boolean(explanation);
  if (explanation && scale) showExplanation(explanation, scale, top);
  showTimes(took, stages);
  part.model.textContent = content.model ? `Model ${content.model.version}` : "";
}

function breed({ label, probability }) {
  const item = made("li", "breed");
  const track = made("div", "track");
  const bar = made("div", "bar");
  bar.style.setProperty("--share", `${100 * probability}%`);
  track.ariaHidden = "true"; // the number beside it says the same
  track.append(bar);
  item.append(made("span", "label", label), made("span", "share", percent(probability)), track);
  return item;
}

function showExplanation(explanation, scale, top) {
  const label = top.find(({ name }) => name === explanation.class)?.label ?? explanation.class;
  const map = new HeatMap(explanation);
  view = { map, scale };
  part.heat.ariaLabel = `Heat map: what speaks for ${label} is strongest at ${place(map.where)}`;
  const framed = drawHeat();
  part.what.textContent = map.isEmpty
    ? `Nothing in the picture speaks for ${label} by itself.`
    : `Bright: what speaks for ${label}.${framed ? " Outside the frame the network saw nothing." : ""}`;
  part.why.hidden = false;
}

function drawHeat() {
  part.heat.hidden = !part.show.checked || !view;
  part.strength.disabled = !part.show.checked;
  return view?.map.draw(part.heat, view.scale, part.strength.value / 100);
}

function showTimes(took, stages) {
  const known = Object.entries(STAGES).filter(([name]) => name in stages);
  const spent = known.reduce((sum, [name]) => sum + stages[name], 0);
  const parts = known.map(([name, title]) => ({ name, title, time: stages[name] }));
  parts.push({ name: "way", title: known.length ? STAGES.way : "in all", time: Math.max(0, took - spent) });
  part.stack.replaceChildren(...parts.map(({ name, time }) => {
    const piece = made("span", name);
    piece.style.setProperty("--part", time);
    return piece;
  }));
  const whole = made("span", "whole", `Answered in ${milliseconds(took)}`);
  const pieces = parts.map(({ name, title, time }) => made("span", `stage ${name}`, `${milliseconds(time)} ${title}`));
  part.stages.replaceChildren(whole, ...(known.length ? pieces : []));
  part.times.hidden = false;
}

function showError(message) {
  part.status.textContent = "";
  part.reason.textContent = message;
  part.error.hidden = false;
}

// ── Words ──

function made(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  if (share < 1 && share > 0.999) return "> 99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}

function milliseconds(time) {
  return `${time < 10 ? time.toFixed(1) : Math.round(time)} ms`;
}

function mebibytes(bytes) {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.?!]$/.test(text) ? "" : ".");
}

function place(where) {
  return where === "middle" ? "the middle" : `the ${where}`;
}

try {
  about = await (await fetch("about")).json();
  part.about.textContent = `One photograph at a time, sent to ${about.endpoint} and nowhere else.`;
} catch {
  part.about.textContent = "This page's own server does not answer.";
}
