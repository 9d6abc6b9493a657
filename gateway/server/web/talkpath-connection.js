/**
 * The socket of one call: opens it, begins the session, and brings it back when it drops.
 *
 * Owns tokens, the first message, which closes are final, and the half minute in which a lost call can be resumed
 * (Voice Agent API: session.update, session.resume, session.end). Refuses sound and what the messages in between mean.
 */

import { Problem, problemOfError } from "./talkpath-problems.js";

const READY_MS = 20_000;
const RESUME_READY_MS = 5_000;
const RESUME_BUDGET_MS = 25_000; // the gateway keeps a lost call for 30 s
const LONGEST_DELAY_MS = 5_000;
const GOODBYE_MS = 3_000;
const STUCK_MS = 6_000; // so long nothing leaves the browser: the network is gone, though nobody closed the socket
const FINAL_CODES = new Set([1000, 1008, 1011]);
const HOPELESS = new Set(["session_not_found", "session_expired", "session_forbidden"]);
const FATAL = new Set([
  ...HOPELESS, "unauthorized", "agent_not_found", "at_capacity", "concurrency_exceeded", "internal_error",
]);

/**
 * @typedef {object} ConnectionHandlers
 * @property {(message: any) => void} onMessage every message of the gateway
 * @property {(ready: any, resumed: boolean) => void} onReady the session is there, or is there again
 * @property {(attempt: number) => void} onLost the socket dropped; it is brought back
 * @property {(reason: string, problem?: Problem) => void} onEnd over and done with; always the last call
 */

export class Connection {
  /**
   * @param {string | URL} url
   * @param {string | (() => string | Promise<string>) | undefined} token
   * @param {object} session fields of the first `session.update`
   * @param {ConnectionHandlers} handlers
   */
  constructor(url, token, session, handlers) {
    this._url = new URL(url, globalThis.location?.href);
    this._url.protocol = this._url.protocol.replace("http", "ws");
    this._token = token;
    this._session = session;
    this._handlers = handlers;
    /** @type {WebSocket | undefined} */
    this._socket = undefined;
    this._sessionId = "";
    this._resumeToken = "";
    this._isOver = false;
    this._isEnding = false;
    this._isBringingBack = false;
    this._waiting = 0; // bytes that had not left after the last message
    this._movedAt = 0;
    this._wake = () => {};
    this._goneOffline = () => this._drop("the browser is offline");
  }

  /** Open the socket and begin the session; what becomes of it the handlers are told. */
  async open() {
    globalThis.addEventListener?.("offline", this._goneOffline);
    try {
      const ready = await this._attempt({ type: "session.update", session: this._session }, await this._mint(), READY_MS);
      this._ready(ready, false);
    } catch (error) {
      if (this._isEnding) this._over("hung_up");
      else this._over("failed", asProblem(error));
    }
  }

  /** @param {object} message */
  send(message) {
    const socket = this._socket;
    if (socket?.readyState !== WebSocket.OPEN) return false;
    const now = performance.now();
    if (socket.bufferedAmount === 0 || socket.bufferedAmount < this._waiting) this._movedAt = now;
    else if (now - this._movedAt > STUCK_MS) {
      this._drop("nothing leaves the browser any more");
      return false;
    }
    socket.send(JSON.stringify(message));
    this._waiting = socket.bufferedAmount;
    return true;
  }

  /** End the call; the gateway is told so, and waited for a little. */
  end() {
    if (this._isOver || this._isEnding) return;
    this._isEnding = true;
    const socket = this._socket;
    this._wake();
    if (!this.send({ type: "session.end" })) socket?.close(1000);
    setTimeout(() => socket?.close(1000), GOODBYE_MS);
    if (socket === undefined) this._over("hung_up");
  }

  async _mint() {
    try {
      return typeof this._token === "function" ? await this._token() : (this._token ?? "");
    } catch (error) {
      throw new Problem("token_failed", String(error));
    }
  }

  /**
   * One socket, up to `session.ready`.
   *
   * @param {object} first
   * @param {string} token
   * @param {number} withinMs
   * @returns {Promise<any>}
   */
  _attempt(first, token, withinMs) {
    if (this._isEnding || this._isOver) return Promise.reject(new Problem("unreachable"));
    const url = new URL(this._url);
    if (token !== "") url.searchParams.set("token", token);
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url);
      const late = setTimeout(() => {
        reject(new Problem(socket.readyState === WebSocket.OPEN ? "not_ready" : "unreachable"));
        socket.close();
      }, withinMs);
      /** @type {any} */
      let complaint;
      let isReady = false;
      this._socket = socket;
      this._waiting = 0;
      this._movedAt = performance.now();
      socket.onopen = () => socket.send(JSON.stringify(first));
      socket.onmessage = ({ data }) => {
        const message = read(data);
        if (message === undefined || socket !== this._socket) return;
        if (message.type === "session.error") complaint = message;
        this._handlers.onMessage(message);
        if (message.type === "session.ready") {
          isReady = true;
          clearTimeout(late);
          resolve(message);
        } else if (message.type === "session.ended") {
          this._over(this._isEnding ? "hung_up" : "agent_hung_up");
          socket.close(1000);
        } else if (message.type === "session.error" && (FATAL.has(message.code) || (!isReady && !isMild(message)))) {
          // It may come without a close (seen live), so the rest of the connection is not waited for.
          reject(problemOfError(message, true));
          if (isReady) this._over("failed", problemOfError(message, true));
          socket.close(1000);
        }
      };
      socket.onclose = (event) => {
        clearTimeout(late);
        reject(complaint ? problemOfError(complaint, true) : problemOfClose(event));
        if (isReady && socket === this._socket) this._closed(event, complaint);
      };
    });
  }

  _ready(message, resumed) {
    this._sessionId = message.session_id ?? message.config?.id ?? "";
    this._resumeToken = message.resume_token ?? "";
    if (this._isEnding) this.send({ type: "session.end" });
    this._handlers.onReady(message, resumed);
  }

  /** A socket that was ready is closed. */
  _closed(event, complaint) {
    if (this._isOver) return;
    if (this._isEnding) this._over("hung_up");
    else if (event.code === 1000) this._over("agent_hung_up");
    else if (FINAL_CODES.has(event.code)) {
      this._over("failed", complaint ? problemOfError(complaint, true) : problemOfClose(event));
    } else this._bringBack();
  }

  /** The socket is of no use any more, whether or not the browser knows. */
  _drop(why) {
    const socket = this._socket;
    if (socket === undefined || this._isOver || this._isEnding || this._sessionId === "" || this._isBringingBack) return;
    socket.onclose = null;
    socket.onmessage = null;
    socket.close(4000, why);
    this._bringBack();
  }

  async _bringBack() {
    this._socket = undefined;
    this._isBringingBack = true;
    const giveUpAt = performance.now() + RESUME_BUDGET_MS;
    for (let attempt = 1; ; attempt += 1) {
      this._handlers.onLost(attempt);
      await this._pause(Math.min(250 * 2 ** (attempt - 1), LONGEST_DELAY_MS) * (1 + Math.random() / 4));
      if (this._isEnding) return this._over("hung_up");
      try {
        const first = { type: "session.resume", session_id: this._sessionId };
        const ready = await this._attempt(first, await this._tokenToResume(), RESUME_READY_MS);
        this._isBringingBack = false;
        return this._ready(ready, true);
      } catch (error) {
        if (this._isOver) return;
        const problem = asProblem(error);
        if (this._isEnding) return this._over("hung_up");
        const hopeless = problem.code === "not_resumed" || problem.code === "session_expired";
        const refused = problem.code === "unauthorized" && typeof this._token !== "function";
        if (hopeless || refused || performance.now() > giveUpAt) {
          return this._over("failed", new Problem("not_resumed", problem.detail || problem.code));
        }
      }
    }
  }

  /** A page that can fetch tokens does; one that was given a token, which is used up, shows the session's own proof. */
  async _tokenToResume() {
    if (typeof this._token === "function") return this._mint();
    return this._token ? this._resumeToken || this._token : "";
  }

  /** Wait, but not on when the network is back or the call is ended. */
  _pause(ms) {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        globalThis.removeEventListener?.("online", done);
        resolve(undefined);
      };
      const timer = setTimeout(done, ms);
      globalThis.addEventListener?.("online", done);
      this._wake = done;
    });
  }

  _over(reason, problem) {
    if (this._isOver) return;
    this._isOver = true;
    globalThis.removeEventListener?.("offline", this._goneOffline);
    this._handlers.onEnd(reason, problem);
  }
}

/** A message that can be read, or undefined. */
function read(data) {
  try {
    const message = JSON.parse(data);
    return typeof message?.type === "string" ? message : undefined;
  } catch {
    return undefined;
  }
}

/** Whether the service keeps the connection after this first answer. */
function isMild(message) {
  return message.code === "invalid_format" || message.code === "invalid_audio";
}

function problemOfClose({ code, reason }) {
  const detail = [code === 1006 ? "" : `closed with ${code}`, reason].filter(Boolean).join(": ");
  if (code === 1011) return new Problem("agent_failed", detail);
  return new Problem(code === 1008 ? "refused" : "unreachable", detail);
}

function asProblem(error) {
  return error instanceof Problem ? error : new Problem("unreachable", String(error));
}
