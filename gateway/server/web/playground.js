/**
 * The playground: one page that calls the gateway it came from.
 *
 * Owns the page: its one button, its state, its sentences. Everything about sound and the gateway is `talkpath.js`.
 */

import { Talkpath } from "./talkpath.js";
import { Conversation, clock, made } from "./playground-conversation.js";

/** @param {string} id @returns {any} */
const at = (id) => document.getElementById(id);
const conversation = new Conversation(at("lines"), at("empty"), at("spoken"));
const QUIETEST_DBFS = -60;
const NO_MICROPHONE = new Set(["microphone_refused", "microphone_missing", "microphone_busy"]);
const AGAIN = new Set(["unreachable", "at_capacity", "not_resumed", "session_expired", "agent_failed", "not_ready"]);
const MILD = new Set(["agent_warned", "connection_lost", "microphone_lost", "sound_blocked"]);
const DOORS = {
  closed:
    "Nobody may call this gateway from a browser: it has a public address and no keys. Add one under access.keys in its configuration and start it again.",
  absent:
    "This gateway takes no calls from browsers: its configuration names no adapter “browser”. Add browser: {} under adapters and start it again.",
};

/** @type {Talkpath | undefined} */
let call;
let door = "open";
let liveAt = 0;
let lostAt = 0;
let activity = "";
let lastProblem = "";
/** @type {Set<string>} */
const running = new Set();

// The state of the call

const isOn = () => call !== undefined && call.state !== "idle" && call.state !== "ended";

/** @param {string} state @param {string} title @param {string} hint */
function show(state, title, hint) {
  at("status").dataset.state = state;
  at("state").textContent = title;
  at("hint").textContent = hint;
  const label = state === "connecting" ? "Cancel" : isOn() ? "Hang up" : "Start call";
  at("start-label").textContent = label;
  at("start-key").hidden = !isOn();
  at("start").classList.toggle("ends", isOn());
  at("start").toggleAttribute("aria-keyshortcuts", false);
  if (isOn()) at("start").setAttribute("aria-keyshortcuts", "Escape");
  at("start").disabled = door in DOORS;
  for (const id of ["text", "send"]) at(id).disabled = call?.state !== "live";
  at("mute").disabled = !isOn() || call?.hasMicrophone === false;
  at("echo").disabled = isOn();
  at("clock").hidden = liveAt === 0;
  document.title = isOn() ? `${title} · Talkpath playground` : "Talkpath playground";
}

function showLive() {
  if (call?.state !== "live") return;
  const said = {
    hearing: "The agent hears you.",
    thinking: "The agent has heard you and is about to answer.",
    speaking: "The agent speaks. Talk over it to interrupt.",
  };
  const listening = call.hasMicrophone ? "The agent listens. Speak." : "No microphone: write below, the agent answers aloud.";
  const tool = activity === "" || activity === "thinking" ? [...running].at(-1) : undefined;
  const hint = tool ? `The agent waits for ${tool}.` : said[activity] || (call.muted ? "The agent hears silence." : listening);
  show("live", call.muted ? "Live, muted" : "Live", hint);
}

/** @param {{state: string, reason: string, attempt: number}} told */
function stateChanged({ state, reason, attempt }) {
  if (state === "connecting") {
    show(state, "Connecting", reason === "microphone" ? "Waiting for the microphone. The browser may ask you to allow it." : "Calling the gateway.");
  } else if (state === "live") {
    live(reason === "resumed");
  } else if (state === "reconnecting") {
    if (attempt === 1) {
      lostAt = performance.now();
      conversation.note("The connection dropped.");
    }
    show(state, "Reconnecting", attempt === 1 ? "The call is kept while the connection is brought back." : `Attempt ${attempt}. The call is kept for half a minute.`);
  } else if (state === "ended") {
    ended(reason);
  }
}

/** @param {boolean} resumed */
function live(resumed) {
  if (resumed) {
    conversation.note(`The connection is back after ${((performance.now() - lostAt) / 1000).toFixed(1)} s; the call goes on.`);
    conversation.announce("Reconnected, the call goes on.");
    clearProblem();
  } else {
    liveAt = performance.now();
    conversation.start();
    conversation.announce("The call is live.");
    listMicrophones();
  }
  showLive();
}

/** @param {string} reason */
function ended(reason) {
  const lasted = liveAt === 0 ? "" : ` after ${clock(performance.now() - liveAt)}`;
  if (reason === "failed") show("failed", lasted ? "Call failed" : "No call", `${lasted ? `It ended${lasted}` : "It could not be started"}. The red message says why.`);
  else if (reason === "agent_hung_up") show("ended", "Call ended", `The agent hung up${lasted}.`);
  else show("ended", "Call ended", lasted ? `You hung up${lasted}.` : "You cancelled it.");
  if (reason !== "failed") clearProblem();
  if (lasted) conversation.note(reason === "failed" ? `The call ended${lasted}.` : at("hint").textContent);
  conversation.announce(`${at("state").textContent}. ${at("hint").textContent}`);
  liveAt = 0;
  at("clock").hidden = true;
  meter("you", -100);
  meter("agent", -100);
}

// Problems

/** @param {{code: string, sentence: string, detail: string}} problem */
function showProblem({ code, sentence, detail }) {
  lastProblem = code;
  const box = at("problem");
  box.className = MILD.has(code) ? "problem mild" : "problem";
  box.replaceChildren(made("p", "", sentence));
  if (detail) box.append(made("code", "", detail));
  const actions = made("div");
  if (NO_MICROPHONE.has(code)) actions.append(action("Start without a microphone", () => start(false)));
  if (code === "unauthorized" && !at("token-field").hidden) actions.append(action("Enter a token", () => at("token").focus()));
  if (AGAIN.has(code)) actions.append(action("Start a new call", () => start(true)));
  if (MILD.has(code) && code !== "connection_lost") actions.append(action("Dismiss", clearProblem));
  if (actions.childElementCount > 0) box.append(actions);
  box.hidden = false;
}

/** @param {string} text @param {() => void} act */
function action(text, act) {
  const button = /** @type {HTMLButtonElement} */ (made("button", "", text));
  button.type = "button";
  button.onclick = act;
  return button;
}

function clearProblem() {
  lastProblem = "";
  at("problem").hidden = true;
  at("problem").replaceChildren();
}

// The call

/** @param {boolean} withMicrophone */
function start(withMicrophone) {
  if (isOn() || door in DOORS) return;
  if (document.activeElement?.closest("#problem")) at("start").focus(); // its button goes away
  clearProblem();
  conversation.clear();
  running.clear();
  activity = "";
  liveAt = 0;
  const token = at("token").value.trim();
  const deviceId = at("microphone").value;
  const microphone = withMicrophone && { echoCancellation: at("echo").checked, ...(deviceId && { deviceId: { exact: deviceId } }) };
  if (door === "token" && token === "") {
    at("settings").open = true;
    at("token").focus();
    showProblem({ code: "token_missing", sentence: "This gateway asks for a token. Make one with talkpath token, paste it under Settings, and start the call.", detail: "" });
    return;
  }
  at("token").value = ""; // it is good for one call
  call = new Talkpath({ token, microphone });
  call.on("state", stateChanged);
  call.on("problem", showProblem);
  call.on("level", ({ microphone: you, agent }) => {
    meter("you", you);
    meter("agent", agent);
  });
  call.on("agent", ({ agent, region }) => {
    fact("agent", agent);
    fact("region", region);
  });
  call.on("session", ({ sessionId }) => fact("call", sessionId.slice(0, 13)));
  call.on("notice", ({ message }) => conversation.note(message));
  call.on("turn", (turn) => conversation.turn(turn));
  call.on("user", (said) => {
    activity = said.final ? "thinking" : "hearing";
    running.clear(); // of a tool that the provider runs no end is told
    conversation.user(said);
    showLive();
  });
  call.on("reply", (reply) => {
    conversation.reply(reply);
    if (reply.state === "speaking") activity = "speaking";
    else if (reply.state !== "coming" && activity === "speaking") activity = "";
    showLive();
  });
  call.on("tool", (tool) => {
    if (tool.state === "running") running.add(tool.name);
    else running.delete(tool.name);
    conversation.tool(tool);
    showLive();
  });
  setMuted(false);
  call.connect();
}

function hangUp() {
  call?.disconnect();
}

/** @param {boolean} muted */
function setMuted(muted) {
  call?.mute(muted);
  at("mute").setAttribute("aria-pressed", String(muted));
  at("mute").firstElementChild.textContent = muted ? "Unmute" : "Mute";
  showLive();
}

/** @param {string} name @param {string} value */
function fact(name, value) {
  at(name).textContent = value ?? "";
  at(name).parentElement.hidden = !value;
}

// Meters and the clock

const told = { you: 0, agent: 0 };

/** @param {"you" | "agent"} side @param {number} dbfs */
function meter(side, dbfs) {
  const track = at(`meter-${side}`).querySelector(".track");
  const level = Math.max(0, Math.min(1, 1 - dbfs / QUIETEST_DBFS));
  track.firstElementChild.style.transform = `scaleX(${level.toFixed(3)})`;
  if (level > 0 && performance.now() - told[side] < 1000) return;
  told[side] = performance.now();
  track.setAttribute("aria-valuenow", String(Math.round(Math.max(QUIETEST_DBFS, Math.min(0, dbfs)))));
  track.setAttribute("aria-valuetext", level === 0 ? "silent" : `${Math.round(dbfs)} decibels`);
}

setInterval(() => {
  if (liveAt !== 0) at("clock").textContent = clock(performance.now() - liveAt);
}, 250);

// Settings

async function listMicrophones() {
  const chosen = at("microphone").value;
  const options = (await Talkpath.microphones())
    .filter(({ deviceId }) => deviceId !== "" && deviceId !== "default")
    .map(({ deviceId, label }, place) => new Option(label || `Microphone ${place + 1}`, deviceId));
  at("microphone").replaceChildren(new Option("Default microphone", ""), ...options);
  if (options.some(({ value }) => value === chosen)) at("microphone").value = chosen;
}

async function askTheDoor() {
  try {
    const answer = await (await fetch("playground.json")).json();
    door = answer.door;
  } catch {
    door = "open"; // the call will tell
  }
  at("token-field").hidden = door !== "token";
  if (door in DOORS) {
    showProblem({ code: door, sentence: DOORS[door], detail: "" });
    show("failed", "No calls here", "This gateway must be configured first.");
  } else if (door === "token") {
    show("idle", "Not in a call", "Paste a token under Settings, then start the call and speak.");
  }
}

at("start").onclick = () => (isOn() ? hangUp() : start(true));
at("mute").onclick = () => setMuted(!call?.muted);
at("microphone").onchange = ({ target }) => {
  call?.useMicrophone({ deviceId: target.value ? { exact: target.value } : undefined });
};
at("write").onsubmit = (event) => {
  event.preventDefault();
  if (call?.say(at("text").value)) at("text").value = "";
};
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.key === "Escape" && isOn() && target.tagName !== "SELECT") hangUp();
  else if (event.key.toLowerCase() === "m" && !event.repeat && !["INPUT", "SELECT"].includes(target.tagName) && !at("mute").disabled) {
    setMuted(!call?.muted);
  }
});
addEventListener("pagehide", hangUp);
navigator.mediaDevices?.addEventListener?.("devicechange", listMicrophones);
matchMedia("(max-width: 48rem)").matches && (at("settings").open = false);
listMicrophones();
askTheDoor();
