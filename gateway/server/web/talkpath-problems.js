/**
 * What can go wrong, in sentences for people. Every code that a `problem` event of `talkpath.js` may carry stands
 * here with what happened and what to do about it; a site may show its own words instead.
 */

/** @type {Record<string, string>} */
export const SENTENCES = {
  insecure_page:
    "The browser gives no microphone to this page, because it did not come over a secure connection. Open it with https://, or as http://localhost on the gateway's own machine.",
  microphone_refused:
    "The browser was told not to let this page use the microphone. Allow it next to the address, then start the call again.",
  microphone_missing: "No microphone was found. Plug one in or choose another, then start the call again.",
  microphone_busy:
    "The microphone could not be opened; another program may be using it. Close that program or choose another microphone, then start the call again.",
  microphone_lost: "The microphone was unplugged. The call goes on; choose another one to be heard.",
  sound_blocked: "The browser holds the sound back until you click or press a key on this page.",
  sound_failed: "This browser cannot play or record sound here; a current Chrome, Edge, Firefox or Safari can.",
  unreachable: "The gateway did not answer at this address. Check that it runs, then start the call again.",
  unauthorized:
    "The token was not accepted: it is too old, was used before, or is for another gateway. Make a new one and start the call again.",
  token_failed: "No token could be fetched for this call. Try again in a moment.",
  at_capacity: "There is no room for another call just now. Try again in a minute.",
  connection_lost: "The connection to the gateway dropped. Reconnecting; the call is kept for half a minute.",
  not_resumed: "The connection could not be brought back in time, so the call has ended. Start a new one.",
  session_expired: "The call has reached the longest time that is allowed, and has ended.",
  agent_failed: "The agent or the gateway failed, and the call has ended. Start a new one; if it happens again, look into the gateway's log.",
  agent_warned: "The agent reported a problem; the call goes on.",
  refused: "The gateway refused this call.",
  not_ready: "The gateway took the call, but no agent was ready in time. Try again in a minute.",
};

/** Error codes of the Voice Agent API (its `session.error`), as problems of this module. */
const BY_ERROR = {
  unauthorized: "unauthorized",
  at_capacity: "at_capacity",
  concurrency_exceeded: "at_capacity",
  session_expired: "session_expired",
  session_not_found: "not_resumed",
  session_forbidden: "not_resumed",
  internal_error: "agent_failed",
};

/** Something went wrong, with the sentence to show. */
export class Problem extends Error {
  /**
   * @param {string} code a key of `SENTENCES`
   * @param {string} [detail] what the browser or the gateway said about it
   */
  constructor(code, detail = "") {
    super(SENTENCES[code] ?? detail);
    this.name = "Problem";
    this.code = code;
    /** What to show. */
    this.sentence = this.message;
    /** What the browser or the gateway said, for whoever looks into it. */
    this.detail = detail;
  }
}

/**
 * @param {{code?: string, message?: string}} error a `session.error`
 * @param {boolean} isFatal whether the connection ends with it
 */
export function problemOfError(error, isFatal) {
  const detail = [error.code, error.message].filter(Boolean).join(": ");
  if (!isFatal) return new Problem("agent_warned", detail);
  return new Problem(BY_ERROR[error.code ?? ""] ?? "refused", detail);
}

/** @param {unknown} error what `getUserMedia` threw */
export function problemOfMicrophone(error) {
  const name = error instanceof Error ? error.name : "";
  const detail = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  if (name === "NotAllowedError" || name === "SecurityError") return new Problem("microphone_refused", detail);
  if (name === "NotFoundError" || name === "OverconstrainedError") return new Problem("microphone_missing", detail);
  return new Problem("microphone_busy", detail);
}
