/**
 * Talk to a Talkpath gateway from a web page: microphone, playback, transcripts, tools, reconnecting.
 *
 *     import { Talkpath } from "https://voice.example.com/talkpath.js";
 *
 *     const call = new Talkpath({ token: async () => (await fetch("/my-token")).text() });
 *     call.on("user", ({ text }) => console.log("you:", text));
 *     call.on("reply", ({ heardText }) => console.log("agent:", heardText));
 *     call.on("problem", ({ sentence }) => alert(sentence));
 *     button.onclick = () => call.connect();
 *
 * The files `talkpath.js` and `talkpath-*.js` make it up; they work from the gateway and from a folder of your own. It speaks the
 * Voice Agent API. Refuses pages: it draws nothing. docs/howto/playground.md is its manual.
 */

import { Connection } from "./talkpath-connection.js";
import { Problem } from "./talkpath-problems.js";
import { Reply } from "./talkpath-replies.js";
import { Sound, fromBase64 } from "./talkpath-sound.js";
import { Turns } from "./talkpath-turns.js";

export { Problem, SENTENCES } from "./talkpath-problems.js";

const AUDIBLE = 10 ** (-50 / 20) * 32768; // as in gateway/audio.py
const SAMPLES_PER_MS = 24;
const PLAYED_EVERY_MS = 100;
const KEPT_PIECES = 50; // one second of the microphone, while the connection is away
const MOST_REPLIES = 64;

/**
 * @typedef {object} Options
 * @property {string | URL} [url] of the gateway's WebSocket; `/v1/ws/browser` beside this file if left out
 * @property {string | (() => string | Promise<string>)} [token] minted by the gateway's `/v1/token`, or what fetches one:
 *   asked before each connection. Not needed on the gateway's own machine while it has no keys
 * @property {object} [session] fields of `session.update`; the route says which of them a client may set
 * @property {MediaTrackConstraints | false} [microphone] constraints; false goes without one
 * @property {Record<string, ClientTool>} [tools] functions of this page that the agent may call
 */

/**
 * @typedef {object} ClientTool
 * @property {string} description when the agent is to call it
 * @property {object} [parameters] JSON Schema of its arguments
 * @property {(args: any) => any} run what it answers is given to the agent as JSON; what it throws, as an error
 */

/** @typedef {"idle" | "connecting" | "live" | "reconnecting" | "ended"} State */

/**
 * @typedef {object} Tool
 * @property {string} callId
 * @property {string} name
 * @property {any} arguments
 * @property {"running" | "done" | "failed"} state
 * @property {number} durationMs
 * @property {any} result what it answered, where this client may see it
 */

/**
 * What `on` tells, by name.
 *
 * @typedef {object} Events
 * @property {{state: State, reason: string, attempt: number}} state `reason` says what
 *   is waited for while connecting (`microphone`, `gateway`), `resumed` of a call that is back, and how a call ended
 *   (`hung_up`, `agent_hung_up`, `failed`)
 * @property {{sessionId: string, config: any, resumed: boolean}} session
 * @property {{agent: string, region: string}} agent who answers from here on
 * @property {{itemId: string, text: string, final: boolean, typed: boolean}} user `text` replaces what came before for the item
 * @property {Reply} reply changed: its words, what was heard of them, its state
 * @property {Tool} tool
 * @property {import("./talkpath-turns.js").Turn} turn an answer was first heard
 * @property {{microphone: number, agent: number}} level in dBFS, -100 is silence; 25 times a second
 * @property {{message: string}} notice the gateway did not do something, and why
 * @property {Problem} problem
 * @property {{direction: "in" | "out", message: any}} message every message but sound
 */

export class Talkpath {
  /** @param {Options} [options] */
  constructor(options = {}) {
    this._options = options;
    /** @type {State} */
    this.state = "idle";
    this.muted = false;
    /** @type {Map<string, Set<(told: any) => void>>} */
    this._handlers = new Map();
    this._typed = 0;
    this._constraints = options.microphone === false ? null : {
      echoCancellation: true,
      noiseSuppression: false, // the service removes noise itself, and hears worse when it is done twice
      autoGainControl: true,
      ...options.microphone,
    };
  }

  /**
   * Hear what happens.
   *
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {(told: Events[Name]) => void} handler
   * @returns {() => void} call it to hear no more
   */
  on(name, handler) {
    const handlers = this._handlers.get(name) ?? new Set();
    this._handlers.set(name, handlers.add(handler));
    return () => handlers.delete(handler);
  }

  /** Start a call, from a click or a key press; everything that comes of it is told by events. */
  async connect() {
    if (this.state !== "idle" && this.state !== "ended") return;
    const startedAt = performance.now();
    this._forget();
    this._become("connecting", "microphone");
    const sound = new Sound({
      onSound: (base64, level) => this._captured(base64, level),
      onPlayback: (told) => this._playback(told),
      onProblem: (problem) => this._emit("problem", problem),
    });
    this._sound = sound;
    sound.mute(this.muted);
    try {
      await sound.open(this._constraints);
    } catch (error) {
      if (this._sound === sound) this._end("failed", error instanceof Problem ? error : new Problem("sound_failed", String(error)));
      sound.close();
      return;
    }
    if (this._sound !== sound) return; // hung up meanwhile
    const { url = new URL("./v1/ws/browser", import.meta.url), token } = this._options;
    const connection = new Connection(url, token, this._session(), {
      onMessage: (message) => this._take(message),
      onReady: (ready, resumed) => this._ready(ready, resumed, startedAt),
      onLost: (attempt) => this._lost(attempt),
      onEnd: (reason, problem) => this._end(reason, problem),
    });
    this._connection = connection;
    this._become("connecting", "gateway");
    await connection.open();
  }

  /** Hang up. */
  disconnect() {
    this._connection?.end();
    this._end("hung_up");
  }

  /** Send silence instead of the microphone. @param {boolean} [muted] */
  mute(muted = true) {
    this.muted = muted;
    this._sound?.mute(muted);
  }

  /** Say something in writing; the agent answers it. @param {string} text */
  say(text) {
    if (this.state !== "live" || text.trim() === "") return false;
    this._typed += 1;
    this._emit("user", { itemId: `typed_${this._typed}`, text: text.trim(), final: true, typed: true });
    this._turns.typed();
    // The service's models see instructions, and no conversation.message.
    return this._send({ type: "reply.create", instructions: `The caller typed: "${text.trim()}". Answer that.` });
  }

  /**
   * Go on, or start, with this microphone.
   *
   * @param {MediaTrackConstraints} constraints such as `{deviceId: {exact: id}}`; what they leave out stays
   */
  async useMicrophone(constraints) {
    this._constraints = { ...this._constraints, ...constraints };
    if (this.state === "idle" || this.state === "ended") return;
    try {
      await this._sound?.useMicrophone(this._constraints);
    } catch (error) {
      this._emit("problem", error instanceof Problem ? error : new Problem("microphone_busy", String(error)));
    }
  }

  /** Microphones of this device; without names until the browser was allowed to use one. */
  static async microphones() {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    return devices.filter(({ kind }) => kind === "audioinput");
  }

  /** Whether the call has a microphone. */
  get hasMicrophone() {
    return this._constraints !== null;
  }

  /** What the agent says, as a node of an audio graph, while there is a call. */
  get output() {
    return this._sound?.output;
  }

  _forget() {
    this._turns = new Turns((turn) => this._emit("turn", turn));
    /** @type {Map<string, Reply>} */
    this._replies = new Map();
    /** @type {Set<string>} replies of which nothing more is played */
    this._dropped = new Set();
    /** @type {Map<string, Tool & {at: number}>} */
    this._tools = new Map();
    /** @type {Map<string, object>} what own tools answered */
    this._answers = new Map();
    /** @type {string[]} */
    this._kept = [];
    this._current = "";
    this._level = -100;
    this._interruptible = true;
    this._tellsPlayed = true;
    this._toldPlayed = { replyId: "", ms: -1, at: 0 };
  }

  _session() {
    const tools = Object.entries(this._options.tools ?? {}).map(([name, { description, parameters }]) => ({
      type: "function", name, description, parameters: parameters ?? { type: "object", properties: {} },
    }));
    return { ...(tools.length > 0 ? { tools } : {}), ...this._options.session };
  }

  _emit(name, told) {
    for (const handler of this._handlers.get(name) ?? []) handler(told);
  }

  _become(state, reason = "", attempt = 0) {
    this.state = state;
    this._emit("state", { state, reason, attempt });
  }

  _send(message) {
    const sent = this._connection?.send(message) ?? false;
    if (sent) this._emit("message", { direction: "out", message });
    return sent;
  }

  _ready(ready, resumed, startedAt) {
    this._interruptible = ready.config?.input?.turn_detection?.interrupt_response !== false;
    if (!resumed) this._turns.greeting(startedAt);
    this._emit("session", { sessionId: ready.session_id, config: ready.config ?? {}, resumed });
    this._become("live", resumed ? "resumed" : "");
    for (const audio of this._kept.splice(0)) this._connection.send({ type: "input.audio", audio });
  }

  _lost(attempt) {
    if (attempt === 1) {
      // The gateway says again what was not heard; what waits here would be heard twice.
      for (const reply of this._replies.values()) reply.rewind();
      this._rewinding = true;
      this._sound?.flush();
      this._emit("problem", new Problem("connection_lost"));
    }
    this._become("reconnecting", "", attempt);
  }

  _end(reason, problem) {
    if (this.state === "ended" || this.state === "idle") return;
    this._sound?.close();
    this._sound = undefined;
    this._connection = undefined;
    for (const reply of this._replies.values()) {
      if (reply.state !== "speaking") continue;
      reply.interrupt("end");
      this._emit("reply", reply);
    }
    if (problem !== undefined) this._emit("problem", problem);
    this._become("ended", reason);
  }

  _captured(base64, level) {
    this._level = Math.max(this._level, level);
    this._turns.heard(level);
    if (this.state === "live") this._connection.send({ type: "input.audio", audio: base64 });
    else if (this.state === "reconnecting") {
      this._kept.push(base64);
      if (this._kept.length > KEPT_PIECES) this._kept.shift();
    }
  }

  // What the gateway says

  _take(message) {
    if (message.type !== "reply.audio") this._emit("message", { direction: "in", message });
    this._understand[message.type]?.call(this, message);
  }

  /** @type {Record<string, (this: Talkpath, message: any) => void>} */
  get _understand() {
    return UNDERSTAND;
  }

  /** @param {{reply_id?: string}} message @returns {Reply} */
  _reply({ reply_id: replyId = this._current }) {
    let reply = this._replies.get(replyId);
    if (reply === undefined) {
      reply = new Reply(replyId);
      this._replies.set(replyId, reply);
      this._current = replyId;
      if (this._replies.size > MOST_REPLIES) this._replies.delete(this._replies.keys().next().value);
    }
    return reply;
  }

  _sounds(message) {
    const reply = this._reply(message);
    if (this._dropped.has(reply.replyId)) return;
    const audio = fromBase64(message.data ?? message.audio ?? "");
    reply.arrivedAt ||= performance.now();
    if (!reply.isAudible) {
      const first = new Int16Array(audio).findIndex((value) => Math.abs(value) >= AUDIBLE);
      reply.isAudible = first >= 0;
      reply.audibleFromMs = reply.receivedMs + (first >= 0 ? first : audio.byteLength / 2) / SAMPLES_PER_MS;
      if (reply.isAudible && reply.house === "") {
        // The silence before it is the agent's; what comes ahead of its time waits for no buffer of ours.
        this._turns.arrived(reply.replyId, Math.max(performance.now(), reply.arrivedAt + reply.audibleFromMs));
      }
    }
    reply.receivedMs += audio.byteLength / 2 / SAMPLES_PER_MS;
    this._sound?.play(reply.replyId, audio);
  }

  _done(message) {
    const reply = this._reply(message);
    reply.isDone = true;
    if (message.status === "interrupted") this._interrupt();
    else this._sound?.end(reply.replyId);
  }

  /** Fall silent at once; the ledger of what was heard follows when the audio thread has told it. */
  _interrupt() {
    this._sound?.flush();
  }

  _toolCalled({ call_id: callId, name, arguments: args = {} }) {
    if (this._tools.has(callId)) return; // told again after a reconnection
    const tool = { callId, name, arguments: args, state: "running", durationMs: 0, result: undefined, at: performance.now() };
    this._tools.set(callId, /** @type {any} */ (tool));
    this._turns.toolCalled(callId);
    this._emit("tool", tool);
  }

  /** The agent wants a function of this page run. */
  async _runTool({ call_id: callId, name, arguments: args = {} }) {
    const own = this._options.tools?.[name];
    if (own === undefined) return;
    let result;
    let failed = false;
    try {
      result = await own.run(typeof args === "string" ? JSON.parse(args) : args);
    } catch (error) {
      failed = true;
      result = { error: error instanceof Error ? error.message : String(error) };
    }
    const text = typeof result === "string" ? result : JSON.stringify(result ?? null);
    const answer = { type: "tool.result", call_id: callId, result: text, is_error: failed };
    this._answers.set(callId, answer);
    this._send(answer);
    this._toolDone({ call_id: callId, outcome: failed ? "error" : "ok", result });
  }

  _toolDone({ call_id: callId, outcome, result }) {
    const tool = this._tools.get(callId);
    if (tool === undefined || tool.state !== "running") return;
    tool.state = outcome === "ok" ? "done" : "failed";
    tool.durationMs = performance.now() - tool.at;
    tool.result = result;
    this._turns.toolDone(callId);
    this._emit("tool", tool);
  }

  _heard(message) {
    const reply = this._replies.get(message.reply_id);
    if (reply === undefined || !message.interrupted) return;
    reply.interrupt("caller", message.heard_ms);
    this._emit("reply", reply);
  }

  _complained(message) {
    if (message.code === "invalid_format" && String(message.message).includes("talkpath.played")) {
      this._tellsPlayed = false; // not a Talkpath gateway
    } else if (this.state === "live") {
      this._emit("problem", new Problem("agent_warned", [message.code, message.message].filter(Boolean).join(": ")));
    }
  }

  // What the loudspeaker says

  _playback(told) {
    const reply = told.replyId === undefined ? undefined : this._replies.get(told.replyId);
    if (told.type === "position") {
      this._emit("level", { microphone: this._level, agent: told.level });
      this._level = -100;
    }
    if (told.type === "flushed") this._flushed(told.replies);
    if (reply === undefined) return;
    if (told.type === "audible") {
      reply.state = "speaking";
      this._emit("reply", reply);
      this._turns.audible(reply.replyId, told.at);
    } else if (told.type === "position") {
      this._moved(reply, Math.max(0, told.playedMs - this._sound.latencyMs));
    } else if (told.type === "finished") {
      setTimeout(() => this._finished(reply, told.playedMs), this._sound.latencyMs);
    }
  }

  _moved(reply, ms) {
    const before = reply.heardText.length;
    reply.played(ms);
    if (reply.heardText.length !== before) this._emit("reply", reply);
    const last = this._toldPlayed;
    if (last.replyId !== reply.replyId || performance.now() - last.at >= PLAYED_EVERY_MS) this._tellPlayed(reply.replyId, ms);
  }

  _finished(reply, ms) {
    if (this._sound === undefined || this._dropped.has(reply.replyId)) return;
    this._tellPlayed(reply.replyId, ms);
    reply.played(ms);
    if (reply.state === "coming") reply.state = "silent";
    reply.finish();
    this._emit("reply", reply);
  }

  _flushed(replies) {
    const isRewinding = this._rewinding;
    this._rewinding = false;
    for (const { replyId, playedMs } of replies) {
      const reply = this._replies.get(replyId);
      if (reply === undefined) continue;
      if (isRewinding) {
        reply.played(playedMs);
        reply.rewind();
        continue;
      }
      this._dropped.add(replyId);
      this._tellPlayed(replyId, playedMs);
      reply.played(playedMs);
      if (reply.state === "coming") reply.state = "silent";
      else reply.interrupt("caller");
      this._emit("reply", reply);
    }
  }

  /** Say how much of a reply was heard, so that the gateway knows it rather than estimates it. */
  _tellPlayed(replyId, ms) {
    const last = this._toldPlayed;
    if (!this._tellsPlayed || (last.replyId === replyId && last.ms >= ms)) return;
    this._toldPlayed = { replyId, ms, at: performance.now() };
    this._send({ type: "talkpath.played", reply_id: replyId, ms: Math.round(ms * 10) / 10 });
  }
}

/** @type {Record<string, (this: any, message: any) => void>} */
const UNDERSTAND = {
  "input.speech.started"() {
    if (this._interruptible) this._interrupt();
  },
  "talkpath.clear"() {
    this._interrupt();
  },
  "input.speech.stopped"() {
    this._turns.taken();
  },
  "transcript.user.delta"({ item_id: itemId, text, delta }) {
    this._emit("user", { itemId, text: text ?? delta ?? "", final: false, typed: false });
  },
  "transcript.user"({ item_id: itemId, text }) {
    this._turns.taken();
    this._emit("user", { itemId, text, final: true, typed: false });
  },
  "reply.started"(message) {
    this._current = message.reply_id;
    this._emit("reply", this._reply(message));
  },
  "reply.audio"(message) {
    this._sounds(message);
  },
  "transcript.agent.delta"(message) {
    const reply = this._reply(message);
    reply.add(message);
    this._emit("reply", reply);
  },
  "transcript.agent"(message) {
    const reply = this._reply(message);
    reply.settle(message);
    this._emit("reply", reply);
  },
  "reply.done"(message) {
    this._done(message);
  },
  "reply.error"({ code, message }) {
    this._emit("problem", new Problem("agent_warned", [code, message].filter(Boolean).join(": ")));
  },
  "tool.call"(message) {
    const { call_id: callId } = message;
    const isNews = !this._tools.has(callId);
    this._toolCalled(message);
    if (isNews) this._runTool(message);
    else if (this._answers.has(callId)) this._send(this._answers.get(callId)); // it was lost with the connection
  },
  "session.error"(message) {
    this._complained(message);
  },
  error(message) {
    this._complained(message);
  },
  "talkpath.tool"(message) {
    // A tool that the gateway runs: first its call, then its end.
    if (message.outcome === undefined) this._toolCalled(message);
    else this._toolDone(message);
  },
  "talkpath.agent"({ agent, region }) {
    this._emit("agent", { agent, region });
  },
  "talkpath.heard"(message) {
    this._heard(message);
  },
  "talkpath.notice"({ message }) {
    this._emit("notice", { message });
  },
};
