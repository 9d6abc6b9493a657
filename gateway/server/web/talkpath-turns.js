/**
 * How long the caller waits for an answer, as heard at this end.
 *
 * Owns four moments of a turn: the caller falls silent (or presses Enter), the agent takes the turn, the first audible
 * sound of the answer arrives, it reaches the ear. Tools run between the second and the third. Refuses words.
 */

const QUIETEST_VOICE_DBFS = -52;
const ABOVE_NOISE_DB = 12;

/**
 * @typedef {object} Turn
 * @property {number} number counts from 1; 0 is the greeting
 * @property {boolean} typed whether the caller wrote
 * @property {number} endpointMs from the caller's last sound until the agent took the turn; for the greeting, the
 *   time to connect
 * @property {number} agentMs until its first audible sound was there, without the tools; silence in front is its own
 * @property {number} toolMs during which tools ran
 * @property {number} soundMs from that arrival until the ear: jitter buffer and device
 * @property {number} totalMs
 * @property {string} replyId the reply that answers
 */

export class Turns {
  /** @param {(turn: Turn) => void} onTurn */
  constructor(onTurn) {
    this._onTurn = onTurn;
    this._count = 0;
    this._noise = -70;
    this._voiceAt = 0;
    /** @type {{number: number, typed: boolean, askedAt: number, takenAt: number, arrivedAt: number, replyId: string, tools: Map<string, {at: number, until: number}>} | undefined} */
    this._open = undefined;
  }

  /** 20 ms of the microphone. @param {number} level dBFS */
  heard(level) {
    this._noise = Math.min(-45, Math.max(-80, level < this._noise ? level : this._noise + 0.05));
    if (level > Math.max(QUIETEST_VOICE_DBFS, this._noise + ABOVE_NOISE_DB)) this._voiceAt = performance.now();
  }

  /** The session is ready and may greet. @param {number} startedAt when connecting began */
  greeting(startedAt) {
    this._begin(0, false, startedAt);
  }

  /** The caller wrote something. */
  typed() {
    this._count += 1;
    this._begin(this._count, true, performance.now());
  }

  /** The agent took the caller's turn; told several times for one turn. */
  taken() {
    const isNews = this._open === undefined || this._open.number === 0 || this._voiceAt > this._open.askedAt;
    if (this._voiceAt === 0 || !isNews) return;
    this._count += 1;
    this._begin(this._count, false, this._voiceAt);
    this._voiceAt = 0;
  }

  /** @param {string} callId */
  toolCalled(callId) {
    this._open?.tools.set(callId, { at: performance.now(), until: 0 });
  }

  /** @param {string} callId */
  toolDone(callId) {
    const tool = this._open?.tools.get(callId);
    if (tool !== undefined) tool.until = performance.now();
  }

  /** The first audible sound of a reply has come, and would be heard at once if nothing stood between. @param {string} replyId @param {number} at */
  arrived(replyId, at) {
    if (this._open === undefined || this._open.arrivedAt !== 0) return;
    this._open.arrivedAt = at;
    this._open.replyId = replyId;
  }

  /** It reaches the ear. @param {string} replyId @param {number} at */
  audible(replyId, at) {
    const open = this._open;
    if (open === undefined || open.replyId !== replyId) return;
    this._open = undefined;
    const arrivedAt = Math.min(open.arrivedAt, at);
    const toolMs = covered([...open.tools.values()], open.takenAt, arrivedAt);
    this._onTurn({
      replyId,
      number: open.number,
      typed: open.typed,
      endpointMs: open.takenAt - open.askedAt,
      agentMs: arrivedAt - open.takenAt - toolMs,
      toolMs,
      soundMs: at - arrivedAt,
      totalMs: at - open.askedAt,
    });
  }

  _begin(number, typed, askedAt) {
    const takenAt = performance.now();
    this._open = { number, typed, askedAt, takenAt, arrivedAt: 0, replyId: "", tools: new Map() };
  }
}

/** Milliseconds between two moments in which at least one tool ran; tools in the order of their calls. */
function covered(tools, from, until) {
  let ms = 0;
  let reached = from;
  for (const tool of tools) {
    const begin = Math.max(reached, tool.at);
    const end = Math.min(until, tool.until);
    if (end > begin) {
      ms += end - begin;
      reached = end;
    }
  }
  return ms;
}
