/**
 * What the agent says, word by word, and which of the words were heard.
 *
 * Owns one rule: a word was heard when at least half of it was played, the same rule by which the gateway writes its
 * transcript (gateway/words.py). Refuses sound and sockets; positions are milliseconds of a reply's sound.
 */

/**
 * @typedef {object} Word
 * @property {string} text with the space before it, where there is one
 * @property {number | null} middleMs where its middle lies in the reply's sound
 * @property {boolean} heard
 */

/** @typedef {"coming" | "speaking" | "heard" | "interrupted" | "silent"} ReplyState */

const HOUSE = /^house_(.+)_\d+$/;

export class Reply {
  /** @param {string} replyId */
  constructor(replyId) {
    this.replyId = replyId;
    /** Name of the gateway's own sound, such as `hold`; empty for the agent's words. */
    this.house = HOUSE.exec(replyId)?.[1] ?? "";
    /** @type {Word[]} */
    this.words = [];
    /** @type {ReplyState} */
    this.state = "coming";
    /** How much of its sound has come. */
    this.receivedMs = 0;
    /** Where its first audible sample lies; replies begin with digital silence. */
    this.audibleFromMs = 0;
    /** Whether any of it can be heard. */
    this.isAudible = false;
    /** How much of it was played. */
    this.playedMs = 0;
    /** Whether the agent has said that no more comes. */
    this.isDone = false;
    /** Who cut it off: the caller, or the end of the call; empty when it was heard to its end. */
    this.cutBy = /** @type {"" | "caller" | "end"} */ ("");
    /** When its first sound came. */
    this.arrivedAt = 0;
    this._baseMs = 0; // played on connections before this one
    this._isFinal = false;
  }

  /** What was heard. */
  get heardText() {
    return joined(this.words.filter((word) => word.heard));
  }

  /** What was composed and not heard. */
  get unheardText() {
    return joined(this.words.filter((word) => !word.heard));
  }

  /** All words, heard or not. */
  get text() {
    return joined(this.words);
  }

  /** One more word, or a few. @param {{delta?: string, start_ms?: number | null, end_ms?: number | null}} message */
  add({ delta = "", start_ms: startMs = null, end_ms: endMs = null }) {
    const before = this.words.at(-1)?.text ?? " ";
    const apart = !/\s$/.test(before) && !/^\s/.test(delta);
    const length = delta.length || 1;
    for (const found of delta.matchAll(/\s*\S+\s*/g)) {
      const share = (found.index + found[0].trimEnd().length - found[0].trim().length / 2) / length;
      const middleMs = startMs === null || endMs === null ? (startMs ?? endMs) : startMs + (endMs - startMs) * share;
      const text = apart && found.index === 0 ? ` ${found[0]}` : found[0];
      this.words.push({ text, middleMs, heard: false });
    }
    this._mark();
  }

  /** The whole text; it replaces the words only where those say something else, and never shortens them. */
  settle({ text = "" }) {
    const plain = (/** @type {string} */ value) => value.replace(/\s+/g, "");
    if (text.trim() === "" || plain(this.text).includes(plain(text))) return;
    if (this.words.length > 0 && !plain(text).startsWith(plain(this.text)) && this.state === "interrupted") return;
    const timed = text.trim().split(/\s+/).length === this.words.length;
    this.words = [...text.matchAll(/\s*\S+/g)].map((found, at) => ({
      text: found[0],
      middleMs: timed ? this.words[at].middleMs : null,
      heard: false,
    }));
    this._mark();
  }

  /** So much of what came over this connection was played. @param {number} ms */
  played(ms) {
    if (this._isFinal) return;
    this.playedMs = Math.max(this.playedMs, this._baseMs + ms);
    this._mark();
  }

  /** The connection was lost; its sound is counted anew on the next. */
  rewind() {
    this._baseMs = this.playedMs;
  }

  /** It was played to its end. */
  finish() {
    if (this.state === "speaking") this.state = "heard";
    if (this.state === "heard") for (const word of this.words) word.heard = true;
  }

  /**
   * It was cut off.
   *
   * @param {"caller" | "end"} cutBy
   * @param {number} [heardMs] where, as the gateway knows it
   */
  interrupt(cutBy, heardMs) {
    this.state = "interrupted";
    this.cutBy = cutBy;
    if (heardMs !== undefined) {
      this.playedMs = heardMs;
      this._isFinal = true;
    }
    for (const word of this.words) word.heard = false;
    this._mark();
  }

  _mark() {
    if (this.playedMs <= this.audibleFromMs) return;
    const timed = this.words.some((word) => word.middleMs !== null);
    const length = this.words.reduce((sum, { text }) => sum + text.length, 0);
    const share = (this.playedMs - this.audibleFromMs) / Math.max(1, this.receivedMs - this.audibleFromMs);
    const until = timed ? this.playedMs : length * share;
    let place = 0;
    let behind = /** @type {Word[]} */ ([]); // words without a time are heard with their follower
    for (const word of this.words) {
      const at = timed ? word.middleMs : place + word.text.trimEnd().length - word.text.trim().length / 2;
      place += word.text.length;
      behind.push(word);
      if (at === null) continue;
      if (at > until) return;
      for (const heard of behind) heard.heard = true;
      behind = [];
    }
  }
}

/** @param {Word[]} words */
function joined(words) {
  return words.map((word) => word.text).join("").trim();
}
