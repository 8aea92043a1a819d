"use strict";
// The pages of deepkd serve: sends clips, keeps the list fresh, seeks, saves decisions.
const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const say = (text) => { one("#status").textContent = text; };
const inField = (event) => event.target.closest("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey;

// The list

async function refresh() {
  const answer = await fetch("/rows" + location.search, { headers: { Accept: "text/html" } });
  if (answer.redirected) location.reload();
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").body;
  const old = new Map(all("#rows .row").map((row) => [row.dataset.id, row]));
  const focused = document.activeElement.closest("#rows .row")?.dataset.id;
  for (const row of all(".row", fresh)) {
    const before = old.get(row.dataset.id);
    if (before && before.dataset.key === row.dataset.key) {
      const bar = one("progress", before);
      if (bar) bar.value = one("progress", row).value;
      row.replaceWith(before);
    } else if (before && /done|failed/.test(row.dataset.state) && before.dataset.state !== row.dataset.state) {
      say(`${one("h2", row).textContent}: ${one(".badge", row).textContent.trim().slice(1).trim()}. ${one(".why", row).textContent}`);
    }
  }
  one("#rows").replaceChildren(...fresh.childNodes);
  if (focused && document.activeElement === document.body) one(`[data-id="${focused}"] a`)?.focus();
}

async function keepFresh() {
  for (;;) {
    const busy = one("[data-state=queued], [data-state=judging], #sending li");
    await sleep(busy ? 700 : 5000);
    if (!document.hidden) await refresh().catch(() => {});
  }
}

// Sending clips

const waiting = [];
let sending = 0;

function send(files) {
  for (const file of files) {
    const item = document.createElement("li"), name = document.createElement("span");
    const bar = document.createElement("progress"), about = document.createElement("span");
    item.className = "card";
    name.className = "name";
    name.textContent = file.name + " ";
    about.textContent = "waits to be sent";
    bar.max = 1; bar.value = 0;
    bar.setAttribute("aria-label", "Sending " + file.name);
    item.append(name, about, bar);
    one("#sending").append(item);
    waiting.push({ file, item, bar, about });
  }
  while (sending < 2 && waiting.length) next();
  refresh().catch(() => {});
}

async function next() {
  sending += 1;
  for (let job; (job = waiting.shift());) {
    if (await deliver(job)) job.item.remove();
    await refresh().catch(() => {});
  }
  sending -= 1;
}

async function deliver(job) {
  for (;;) {
    job.about.textContent = "is being sent";
    const answer = await post(job);
    if (answer.status === 200) say(`${job.file.name}: known already`);
    if (answer.status === 200 || answer.status === 202) return true;
    if (answer.status !== 429) {
      fail(job, answer.error);
      return false;
    }
    job.bar.value = 0;
    for (let left = answer.wait; left > 0; left -= 1) {
      job.about.textContent = `waits: the queue is full; next try in ${left} s`;
      await sleep(1000);
    }
  }
}

function post({ file, bar }) {
  return new Promise((done) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/api/v1/clips?name=" + encodeURIComponent(file.name));
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.onprogress = (event) => { bar.value = event.loaded / Math.max(1, event.total); };
    request.onload = () => done({
      status: request.status, error: request.response?.error || `the desk answered ${request.status}`,
      wait: Number(request.getResponseHeader("Retry-After")) || 5,
    });
    request.onerror = () => done({ status: 0, error: "the desk cannot be reached, or dropped the clip" });
    request.send(file);
  });
}

function fail(job, error) {
  const again = document.createElement("button"), drop = document.createElement("button");
  job.about.textContent = `was not taken: ${error}. `;
  say(`${job.file.name} was not taken: ${error}`);
  again.textContent = "Try again";
  drop.textContent = "Dismiss";
  again.onclick = () => { job.item.remove(); send([job.file]); };
  drop.onclick = () => job.item.remove();
  job.item.className = "card clip error";
  job.bar.replaceWith(again, " ", drop);
}

function startDesk() {
  const files = one("#files");
  files.onchange = () => { send(files.files); files.value = ""; };
  one("#drop").onsubmit = (event) => event.preventDefault();
  document.ondragover = (event) => { event.preventDefault(); document.body.classList.add("over"); };
  document.ondragleave = (event) => { if (!event.relatedTarget) document.body.classList.remove("over"); };
  document.ondrop = (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    send(event.dataTransfer.files);
  };
  for (const choice of all("#filter select")) choice.onchange = () => one("#filter").requestSubmit();
  document.onkeydown = (event) => {
    if (inField(event)) return;
    const links = all("#rows .row h2 a"), at = links.indexOf(document.activeElement);
    if (event.key === "j") links[Math.min(at + 1, links.length - 1)]?.focus();
    else if (event.key === "k") links[Math.max(at - 1, 0)]?.focus();
    else if (event.key === "u") files.focus();
    else if (event.key === "/") one("#filter select").focus();
    else return;
    event.preventDefault();
  };
  keepFresh();
}

// One clip

function startReview() {
  const main = one("main"), api = "/api/v1/clips/" + main.dataset.id;
  if (!/done|failed/.test(main.dataset.state)) watch(api, main.dataset.state);
  const video = one("#video");
  if (video) startPlayer(video);
  const form = one("#decision"), saved = one("#saved");
  try { form.who.value ||= localStorage.getItem("who") || ""; } catch { /* storage is off */ }
  form.onsubmit = async (event) => {
    event.preventDefault();
    const body = { decision: form.decision.value, note: form.note.value, who: form.who.value };
    try { localStorage.setItem("who", body.who); } catch { /* storage is off */ }
    const answer = await fetch(api + "/decision", { method: "PUT", body: JSON.stringify(body) }).catch(() => null);
    const reason = answer ? (await answer.json().catch(() => ({}))).error : "the desk cannot be reached";
    saved.textContent = answer?.ok ? "saved just now" : `not saved: ${reason}`;
  };
  form.oninput = () => { saved.textContent = "not saved yet"; };
  one("#remove").onclick = async () => {
    if (!confirm("Remove this clip, its verdict and its decision?")) return;
    const answer = await fetch(api, { method: "DELETE" });
    if (answer.ok || answer.status === 404) location.assign("/");
  };
}

async function watch(api, state) {
  for (;;) {
    const answer = await fetch(api + "?wait=1").catch(() => null);
    if (answer?.status === 404) return location.assign("/");
    if (!answer?.ok) { await sleep(2000); continue; }
    const clip = await answer.json();
    if (clip.state !== state && !one("#saved").textContent.startsWith("not")) return location.reload();
    if (one("#progress")) one("#progress").value = clip.progress || 0;
  }
}

function startPlayer(video) {
  const seek = (t) => { video.pause(); video.currentTime = t; video.scrollIntoView({ block: "nearest" }); };
  video.addEventListener("error", () => { one("#unplayable").hidden = false; });
  document.addEventListener("click", (event) => {
    const mark = event.target.closest("[data-t]");
    if (mark) seek(Number(mark.dataset.t));
  });
  const heads = all(".person > svg").map((drawing) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    line.setAttribute("class", "playhead");
    drawing.append(line);
    return [drawing, line];
  });
  const show = () => {
    for (const [drawing, line] of heads) {
      const grid = one("line.grid", drawing), from = +grid.getAttribute("x1"), to = +grid.getAttribute("x2");
      const x = from + (to - from) * Math.min(1, video.currentTime / (video.duration || 1));
      line.setAttribute("x1", x); line.setAttribute("x2", x);
      line.setAttribute("y1", 12); line.setAttribute("y2", 140);
    }
  };
  for (const name of ["timeupdate", "seeking", "loadedmetadata"]) video.addEventListener(name, show);
  document.addEventListener("keydown", (event) => {
    if (inField(event) || !/^[np]$/.test(event.key)) return;
    const times = [...new Set(all(".moments .seek").map((button) => +button.dataset.t))], now = video.currentTime;
    const found = event.key === "n" ? times.find((t) => t > now + 0.01) : times.findLast((t) => t < now - 0.01);
    if (found !== undefined) seek(found);
  });
}

if (document.body.classList.contains("desk")) startDesk();
if (document.body.classList.contains("review")) startReview();
