/**
 * The conversation on the page: what was said, heard and done, line by line.
 *
 * Owns the lines and what a screen reader is told of them. Refuses to know the gateway; `playground.js` passes on
 * what `talkpath.js` tells.
 */

const SHORTEST_SCALE_MS = 2500;
const PARTS = [
  ["endpoint", "endpointMs", "turn end"],
  ["agent", "agentMs", "agent"],
  ["tool", "toolMs", "tools"],
  ["sound", "soundMs", "playback"],
];

/** @param {string} name @param {string} [className] @param {string} [text] */
export function made(name, className = "", text = "") {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

/** @param {number} ms */
export function clock(ms) {
  const seconds = Math.floor(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** @param {number} ms */
function whole(ms) {
  return `${Math.round(ms).toLocaleString("en").replace(",", "\u202f")} ms`;
}

export class Conversation {
  /** @param {HTMLElement} lines @param {HTMLElement} empty @param {HTMLElement} spoken */
  constructor(lines, empty, spoken) {
    this._lines = lines;
    this._empty = empty;
    this._spoken = spoken;
    this.clear();
  }

  /** A new call begins. */
  clear() {
    this._lines.replaceChildren();
    this._empty.hidden = false;
    this._startedAt = performance.now();
    /** @type {Map<string, HTMLElement>} */
    this._known = new Map();
    this._scaleMs = SHORTEST_SCALE_MS;
  }

  /** Times are counted from here. */
  start() {
    this._startedAt = performance.now();
  }

  /** Tell a screen reader, when it has said what it is saying. @param {string} text */
  announce(text) {
    this._spoken.textContent = text;
  }

  /** @param {string} text */
  note(text) {
    this._append(made("li", "note", text));
  }

  /** @param {{itemId: string, text: string, final: boolean, typed: boolean}} said */
  user({ itemId, text, final, typed }) {
    const line = this._line(`user ${itemId}`, "You", "you");
    line.classList.toggle("partial", !final);
    const words = line.querySelector(".words");
    words.textContent = text;
    if (typed) words.append(made("span", "tag written", "written"));
    if (final) this.announce(`You: ${text}`);
    this._follow();
  }

  /** @param {import("./talkpath-replies.js").Reply} reply */
  reply(reply) {
    if (reply.state === "coming" || reply.state === "silent") return;
    if (reply.house !== "") {
      if (!this._known.has(reply.replyId)) {
        this._known.set(reply.replyId, this._lines);
        this.note(`The gateway plays its sound “${reply.house}”.`);
      }
      return;
    }
    const line = this._line(`reply ${reply.replyId}`, "Agent", "agent");
    const { heardText, unheardText } = reply;
    const words = line.querySelector(".words");
    words.replaceChildren(heardText, heardText && unheardText ? " " : "");
    const isCut = reply.state === "interrupted" && unheardText !== "";
    const why = reply.cutBy === "end" ? "the call ended" : "you interrupted";
    if (isCut) words.append(made("span", "unseen", "Not heard: "), made("del", "", unheardText), made("span", "tag", why));
    else if (unheardText) words.append(made("span", "later", unheardText));
    if (reply.state !== "speaking" && line.dataset.told !== reply.state) {
      line.dataset.told = reply.state;
      this.announce(isCut ? `Agent, interrupted: ${heardText}` : `Agent: ${heardText}`);
    }
    this._follow();
  }

  /** @param {{callId: string, name: string, arguments: any, state: string, durationMs: number, result: any}} tool */
  tool(tool) {
    const key = `tool ${tool.callId}`;
    let line = this._known.get(key);
    if (line === undefined) {
      line = made("li", "tool");
      const head = made("p");
      head.append(made("code", "", `${tool.name}(${shown(tool.arguments)})`), made("span", "took", "running…"));
      line.append(head);
      this._known.set(key, line);
      this._append(line);
    }
    line.classList.toggle("failed", tool.state === "failed");
    if (tool.state !== "running") {
      line.querySelector(".took").textContent = `${tool.state === "failed" ? "failed after " : ""}${whole(tool.durationMs)}`;
      if (tool.result !== undefined) line.append(made("code", "result", `→ ${shortened(tool.result)}`));
      this.announce(`Tool ${tool.name} ${tool.state === "failed" ? "failed" : "answered"} after ${whole(tool.durationMs)}`);
    }
    this._follow();
  }

  /** @param {import("./talkpath-turns.js").Turn} turn */
  turn(turn) {
    const line = this._known.get(`reply ${turn.replyId}`);
    if (line === undefined) return;
    const latency = made("div", "latency");
    const bar = made("div", "bar");
    const parts = made("div", "parts");
    for (const [kind, field, name] of PARTS) {
      const ms = turn[field];
      const label = kind === "endpoint" && turn.number === 0 ? "connect" : name;
      if (ms < 1 || (kind === "endpoint" && turn.typed)) continue;
      const piece = made("span", `of-${kind}`);
      piece.dataset.ms = String(ms);
      bar.append(piece);
      const part = made("span", `of-${kind}`);
      part.append(made("b", "", `${label} ${Math.round(ms).toLocaleString("en").replace(",", "\u202f")}`));
      parts.append(part);
    }
    bar.setAttribute("aria-hidden", "true");
    const total = made("span", "", turn.number === 0 ? "first word after " : "answered after ");
    total.append(made("strong", "", whole(turn.totalMs)));
    latency.append(bar, total, parts);
    line.append(latency);
    this._scaleMs = Math.max(this._scaleMs, turn.totalMs);
    for (const piece of this._lines.querySelectorAll(".bar span")) {
      /** @type {HTMLElement} */ (piece).style.width = `${(Number(/** @type {HTMLElement} */ (piece).dataset.ms) / this._scaleMs) * 100}%`;
    }
    this._follow();
  }

  /** The line of an utterance or a reply, made when it is first spoken of. */
  _line(key, who, className) {
    let line = this._known.get(key);
    if (line === undefined) {
      line = made("li", `line ${className}`);
      const when = made("time", "when", clock(performance.now() - this._startedAt));
      line.append(made("span", "who", who), made("p", "words"), when);
      this._known.set(key, line);
      this._append(line);
    }
    return line;
  }

  _append(line) {
    this._empty.hidden = true;
    this._isAtEnd = this._isAtEnd ?? true;
    this._lines.append(line);
    this._follow();
  }

  /** Keep the newest line in sight, unless the reader has scrolled back. */
  _follow() {
    const { scrollHeight, scrollTop, clientHeight } = this._lines;
    if (scrollHeight - scrollTop - clientHeight < 160) this._lines.scrollTop = scrollHeight;
  }
}

/** @param {any} args */
function shown(args) {
  if (args === null || typeof args !== "object") return String(args ?? "");
  return Object.entries(args).map(([name, value]) => `${name}: ${JSON.stringify(value)}`).join(", ");
}

/** @param {any} result */
function shortened(result) {
  const text = typeof result === "string" ? result : JSON.stringify(result);
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
