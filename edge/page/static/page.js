// The station's page: asks for its state once a second, and draws what has changed.
"use strict";

const EVERY_MS = 1000, FAILED_EVERY_MS = 3000, RATE_OVER_S = 60;
const $ = (id) => document.getElementById(id);
const shown = new Map();      // of each drawn thing the JSON that it was drawn from
const past = new Map();       // of each camera [seconds, results] of the last minute
let drawnFor = "";

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") node.onclick = value;
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== ""));
  return node;
}

function changed(key, value) {
  const text = JSON.stringify(value);
  if (shown.get(key) === text) return false;
  shown.set(key, text);
  return true;
}

async function send(path, body, button) {
  if (button) button.disabled = true;
  try {
    const answer = await fetch(path, {
      method: "POST", headers: {"Content-Type": "application/json", "X-Lineside": "1"}, body: JSON.stringify(body),
    });
    if (!answer.ok) alert((await answer.json()).error.message);
  } catch (problem) {
    alert(`The station does not answer: ${problem.message}`);
  }
  if (button) button.disabled = false;
  await refresh();
}

const percent = (share) => `${(share * 100).toFixed(share > 0.995 ? 1 : 0)} %`;
const clock = (stamp) => new Date(stamp).toLocaleTimeString();
const badge = (verdict) => make("span", {class: `badge ${verdict}`}, verdict);
const ms = (value) => value === null ? "over 30 s" : value < 1000 ? `${value} ms` : `${value / 1000} s`;

function perMinute(camera) {
  const now = performance.now() / 1000;
  const total = camera.counts.pass + camera.counts.fail + camera.counts.unsure;
  const kept = (past.get(camera.name) ?? []).filter(([at]) => now - at <= RATE_OVER_S);
  kept.push([now, total]);
  past.set(camera.name, kept);
  const [since, before] = kept[0];
  return now - since < 5 ? "" : `${Math.round((total - before) / (now - since) * 60)} a minute`;
}

function drawHead(state) {
  document.title = `${state.station} · Lineside`;
  $("station").textContent = state.station;
  $("link").textContent = state.online ? "broker connected" : "no broker";
  $("link").className = `badge ${state.online ? "online" : "offline"}`;
  const models = Object.values(state.models).map((model) => `${model.name} ${model.sha256.slice(0, 12)}`);
  $("model").textContent = `${models.join(", ")} · Lineside ${state.version}`;
  const queues = Object.entries(state.queues).map(([name, queue]) => `${queue.waiting} ${name}`);
  $("load").textContent = `waiting: ${queues.join(", ")}, ${state.outbox} messages for the broker`;
}

function drawNotices(state) {
  if (changed("degraded", state.degraded)) {
    $("degraded").hidden = !state.degraded.length;
    $("degraded").querySelector("ul").replaceChildren(...state.degraded.map((line) => make("li", {}, line)));
  }
  const may = state.may.includes("confirm");
  if (changed("waiting", [state.waiting, may])) {
    $("waiting").hidden = !state.waiting.length;
    $("waiting").querySelector("ul").replaceChildren(...state.waiting.map((asked) => {
      const answer = (confirmed) => (event) =>
        send(`/page/confirm/${encodeURIComponent(asked.tool)}`, {id: asked.call_id, confirmed}, event.target);
      return make("li", {},
        make("strong", {}, asked.tool), make("code", {}, JSON.stringify(asked.arguments)),
        make("span", {class: "quiet"}, `until ${clock(asked.expires_at)}`),
        make("button", {disabled: !may, onclick: answer(true)}, "Yes, do it"),
        make("button", {disabled: !may, onclick: answer(false)}, "No"),
        may ? "" : make("span", {class: "quiet"}, "answered here once the page has http.page_key_file"));
    }));
  }
}

function drawCameras(cameras) {
  const box = $("cameras");
  for (const camera of cameras) {
    let card = box.querySelector(`[data-camera="${CSS.escape(camera.name)}"]`);
    if (!card) {
      card = make("div", {class: "card", "data-camera": camera.name},
        make("div", {class: "picture"}, "no picture yet"), make("div", {class: "foot"}));
      box.append(card);
    }
    card.classList.toggle("stale", camera.stale);
    if (camera.result_id && changed(`picture ${camera.name}`, camera.result_id)) {
      const source = `/page/camera/${encodeURIComponent(camera.name)}.jpg?${camera.result_id}`;
      const image = make("img", {alt: `${camera.name}: ${camera.verdict}`});
      image.onload = () => card.querySelector(".picture").replaceChildren(image);
      image.src = source;
    }
    const rate = perMinute(camera), counts = camera.counts, total = counts.pass + counts.fail + counts.unsure;
    const age = camera.age_s === null ? "" : `newest frame ${camera.age_s < 60 ? `${camera.age_s.toFixed(1)} s` :
      `${Math.round(camera.age_s / 60)} min`} old`;
    const foot = [
      make("div", {class: "row"}, make("span", {class: "name"}, camera.name),
        camera.verdict ? badge(camera.verdict) : "",
        camera.confidence != null ? make("span", {}, percent(camera.confidence)) : "",
        camera.inspected ? "" : make("span", {class: "badge"}, "not inspected"),
        camera.stale ? make("span", {class: "badge fail"}, "no new frames") : ""),
      make("p", {class: "quiet"}, total ? `since the start ${counts.pass} pass, ${counts.fail} fail, ` +
        `${counts.unsure} unsure${rate ? ` · ${rate}` : ""}` : "no verdict yet"),
      make("p", {class: "quiet"}, age)];
    if (camera.error) foot.push(make("p", {class: "error"}, camera.error));
    card.querySelector(".foot").replaceChildren(...foot);
  }
  for (const card of [...box.children]) {
    if (!cameras.some((camera) => camera.name === card.dataset.camera)) card.remove();
  }
}

function enlarge(verdict) {
  const large = $("large");
  large.querySelector("img").src = `/page/verdict/${verdict.id}.jpg`;
  large.querySelector("img").alt = verdict.verdict;
  large.querySelector("p").textContent = [verdict.verdict, percent(verdict.confidence), verdict.camera, verdict.part_id,
    new Date(verdict.captured_at).toLocaleString(), verdict.doubt, `id ${verdict.id}`].filter(Boolean).join(" · ");
  large.showModal();
}

function drawVerdict(verdict) {
  const say = (said) => make("button",
    {class: `${said}${verdict.reviewed === said ? " chosen" : ""}`, disabled: !verdict.pictured,
      onclick: (event) => send(`/page/review/${verdict.id}`, {verdict: said}, event.target)}, said);
  const found = [...new Set(verdict.defects)].join(", ");
  const picture = verdict.pictured
    ? make("button", {class: "picture", title: "enlarge", onclick: () => enlarge(verdict)},
      make("img", {src: `/page/verdict/${verdict.id}.jpg?small`, alt: `${verdict.verdict} ${found}`, loading: "lazy"}))
    : make("div", {class: "picture"}, "picture not kept");
  return make("div", {class: "card"}, picture, make("div", {class: "foot"},
    make("div", {class: "row"}, badge(verdict.verdict), make("span", {}, percent(verdict.confidence))),
    make("p", {class: "quiet"}, [clock(verdict.captured_at), verdict.camera, verdict.part_id].filter(Boolean).join(" · ")),
    make("p", {class: "quiet"}, found || verdict.doubt || `by the ${verdict.decided_by}`),
    make("div", {class: "row"}, make("span", {class: "quiet"}, "right is"), say("pass"), say("fail"))));
}

function drawVerdicts(verdicts) {
  // A card that has not changed stays the same element: nobody's click is lost.
  const box = $("verdicts"), there = new Map([...box.children].map((card) => [card.dataset.id, card]));
  verdicts.forEach((verdict, at) => {
    let card = there.get(verdict.id);
    const text = JSON.stringify(verdict);
    if (!card || card.dataset.json !== text) {
      const fresh = drawVerdict(verdict);
      fresh.dataset.id = verdict.id;
      fresh.dataset.json = text;
      if (card) card.replaceWith(fresh);
      card = fresh;
    }
    if (box.children[at] !== card) box.insertBefore(card, box.children[at] ?? null);
  });
  while (box.children.length > verdicts.length) box.lastChild.remove();
}

function drawTeaching(state) {
  const may = state.may.includes("learn"), busy = state.job !== null && state.job.code === null;
  if (changed("teaching", [state.cameras.map((camera) => camera.name), may, busy])) {
    const row = (camera) => {
      const start = (kind) => (event) => send(`/page/${kind}/${encodeURIComponent(camera.name)}`, {}, event.target);
      return make("div", {class: "row"}, make("span", {class: "name"}, camera.name),
        make("button", {disabled: !may || busy, onclick: start("learn")}, "Learn from what people said"),
        make("button", {disabled: !may || busy, onclick: start("calibrate")}, "Calibrate"));
    };
    $("teaching").replaceChildren(...state.cameras.map(row), may ? "" : make("p", {class: "quiet"},
      'Off: write [remote] allow = ["learn"] into the station file, and these buttons work.'));
  }
  if (!changed("job", state.job) || state.job === null) return;
  const job = state.job;
  const result = job.code === null ? "under way …" : job.code === 0 ? "done, and in use" : "failed";
  $("job").hidden = false;
  $("job").textContent = `${job.kind} ${job.camera}, ${job.good} good and ${job.bad} bad pictures: ${result}\n` +
    job.lines.join("\n");
  if (job.code === 0) {
    const source = `/page/${job.kind}/${encodeURIComponent(job.camera)}?${Date.now()}`;
    const image = make("img", {alt: `what ${job.kind} drew`, src: source});
    image.onerror = () => image.remove();
    $("drawn").replaceChildren(image);
  }
}

function drawStages(stages) {
  if (!changed("stages", stages)) return;
  $("stages").tBodies[0].replaceChildren(...stages.map((found) => make("tr", {}, make("td", {}, found.of),
    make("td", {}, found.stage), make("td", {}, String(found.count)), make("td", {}, ms(found.median_ms)),
    make("td", {}, ms(found.p99_ms)))));
}

async function refresh() {
  const answer = await fetch("/page/state", {cache: "no-store"});
  if (!answer.ok) throw new Error((await answer.json()).error.message);
  const state = await answer.json();
  drawHead(state);
  drawNotices(state);
  drawCameras([...state.triggers, ...state.cameras]);
  if (changed("verdicts", state.verdicts)) drawVerdicts(state.verdicts);
  drawTeaching(state);
  drawStages(state.stages);
}

async function keepOn() {
  let pause = EVERY_MS;
  try {
    if (!document.hidden) await refresh();
  } catch (problem) {
    $("link").textContent = "the station does not answer";
    $("link").className = "badge offline";
    pause = FAILED_EVERY_MS;
  }
  setTimeout(keepOn, pause);
}

keepOn();
