/**
 * The two ends of the sound, on the browser's audio thread: `talkpath-capture` hands out what the microphone
 * hears in pieces of 20 ms, `talkpath-playback` plays replies from a jitter buffer that can be emptied at once.
 *
 * Owns the sample rates: outside of this file all sound is mono PCM16 at 24 kHz, whatever the device runs at.
 * Refuses the network and the microphone; `talkpath-sound.js` connects it to both.
 */

/** Rate of all sound on the wire. */
export const WIRE_HZ = 24000;

const PIECE_MS = 20;
const AUDIBLE = 10 ** (-50 / 20); // as in gateway/audio.py: what is quieter counts as silence
const FIRST_TARGET_MS = 80;
const LONGEST_TARGET_MS = 400;
const LONGEST_WAIT_MS = 600; // a reply whose end was never told is played all the same
const REPORT_MS = 40;
const MOST_REPLIES = 64;
const DECLICK = 0.985; // per sample: where sound stops in mid-wave it fades within a few milliseconds

/**
 * Changes the sample rate of a stream, piece by piece, with carried state: a polyphase windowed sinc.
 * The lowest pass is below the Nyquist frequency of the slower side, so nothing folds over.
 */
export class Resampler {
  /** @param {number} fromHz @param {number} toHz */
  constructor(fromHz, toHz) {
    const divisor = greatestDivisor(Math.round(fromHz), Math.round(toHz));
    this._up = Math.round(toHz) / divisor;
    this._down = Math.round(fromHz) / divisor;
    const cutoff = Math.min(1, toHz / fromHz) * 0.94;
    this._half = Math.ceil(20 / cutoff);
    this._phases = [];
    for (let phase = 0; phase < this._up && this._up !== this._down; phase += 1) {
      this._phases.push(kernel(this._half, cutoff, phase / this._up));
    }
    this.reset();
  }

  /** Forget what came before; the next piece begins in silence. */
  reset() {
    this._kept = new Float32Array(2 * this._half - 1);
    this._phase = 0;
    this._base = 0; // of the next output sample, in `kept` followed by the next piece
  }

  /**
   * @param {Float32Array} samples
   * @returns {Float32Array} what can be said so far at the other rate
   */
  push(samples) {
    if (this._up === this._down) return samples;
    const all = new Float32Array(this._kept.length + samples.length);
    all.set(this._kept);
    all.set(samples, this._kept.length);
    const taps = 2 * this._half;
    const made = new Float32Array(Math.ceil((samples.length * this._up) / this._down) + 1);
    let count = 0;
    for (; this._base + taps <= all.length; count += 1) {
      const weights = this._phases[this._phase];
      let sum = 0;
      for (let tap = 0; tap < taps; tap += 1) sum += all[this._base + tap] * weights[tap];
      made[count] = sum;
      this._phase += this._down;
      this._base += Math.floor(this._phase / this._up);
      this._phase %= this._up;
    }
    const used = Math.min(this._base, all.length);
    this._kept = all.slice(used);
    this._base -= used;
    return made.subarray(0, count);
  }
}

/** @param {number} a @param {number} b @returns {number} */
function greatestDivisor(a, b) {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

/** One phase of a windowed sinc; its weights add up to one, so that a constant stays what it is. */
function kernel(half, cutoff, shift) {
  const weights = new Float32Array(2 * half);
  let sum = 0;
  for (let tap = 0; tap < 2 * half; tap += 1) {
    const at = tap - half + 1 - shift;
    const turn = Math.PI * cutoff * at;
    const window = 0.42 + 0.5 * Math.cos((Math.PI * at) / half) + 0.08 * Math.cos((2 * Math.PI * at) / half);
    weights[tap] = (turn === 0 ? 1 : Math.sin(turn) / turn) * (Math.abs(at) < half ? window : 0);
    sum += weights[tap];
  }
  return weights.map((weight) => weight / sum);
}

/** @param {number} power mean square @returns {number} dBFS, -100 for digital silence */
function decibels(power) {
  return power > 1e-10 ? 10 * Math.log10(power) : -100;
}

/** Hands out the microphone in pieces of 20 ms at the wire's rate; without a microphone, silence at the same pace. */
class Capture extends (globalThis.AudioWorkletProcessor ?? Object) {
  constructor() {
    super();
    this._resampler = new Resampler(sampleRate, WIRE_HZ);
    this._silence = new Float32Array(128);
    this._clear();
  }

  _clear() {
    this._piece = new Int16Array((WIRE_HZ * PIECE_MS) / 1000);
    this._filled = 0;
    this._power = 0;
  }

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    for (const sample of this._resampler.push(inputs[0][0] ?? this._silence)) {
      const held = Math.max(-1, Math.min(1, sample));
      this._piece[this._filled] = Math.round(held * 32767);
      this._power += held * held;
      this._filled += 1;
      if (this._filled === this._piece.length) {
        const level = decibels(this._power / this._filled);
        this.port.postMessage({ pcm: this._piece.buffer, level }, [this._piece.buffer]);
        this._clear();
      }
    }
    return true;
  }
}

/**
 * Plays replies in the order in which they come.
 *
 * Told `{audio: ArrayBuffer, replyId}`, `{end: replyId}` and `{flush: true}`. Tells `position` all the time,
 * `audible` once per reply, `finished` when a reply whose end was told ran dry (more of it may come all the same),
 * `flushed` with what each unfinished reply had come to, and `underrun`. Every position is milliseconds of that reply's sound,
 * counted as they came over the wire, that were handed to the device since the last flush.
 */
class Playback extends (globalThis.AudioWorkletProcessor ?? Object) {
  constructor() {
    super();
    this._resampler = new Resampler(WIRE_HZ, sampleRate);
    /** @type {{reply: Reply, samples: Float32Array, at: number, ms: number}[]} */
    this._queue = [];
    /** @typedef {{id: string, playedMs: number, ended: boolean, audible: boolean, dry: boolean, starved: boolean}} Reply */
    /** @type {Map<string, Reply>} */
    this._replies = new Map();
    this._buffered = 0;
    this._waiting = true;
    this._waited = 0;
    this._targetMs = FIRST_TARGET_MS;
    this._last = 0;
    this._power = 0;
    this._sinceReport = 0;
    this.port.onmessage = ({ data }) => this._take(data);
  }

  _take(told) {
    if (told.flush) this._flush();
    else if (told.end !== undefined) this._end(told.end);
    else this._add(this._reply(told.replyId), new Int16Array(told.audio));
  }

  /** @returns {Reply} */
  _reply(id) {
    let reply = this._replies.get(id);
    if (reply === undefined) {
      reply = { id, playedMs: 0, ended: false, audible: false, dry: true, starved: false };
      this._replies.set(id, reply);
      if (this._replies.size > MOST_REPLIES) this._replies.delete(this._replies.keys().next().value);
    }
    return reply;
  }

  _add(reply, pcm) {
    if (reply.dry && reply.playedMs > 0) this._underrun(reply);
    reply.dry = false;
    const samples = this._resampler.push(Float32Array.from(pcm, (value) => value / 32768));
    this._queue.push({ reply, samples, at: 0, ms: (pcm.length / WIRE_HZ) * 1000 });
    this._buffered += samples.length;
  }

  /** Nothing was there to play in the middle of a reply: keep more in hand, until replies go well again. */
  _underrun(reply) {
    reply.starved = true;
    this._targetMs = Math.min(LONGEST_TARGET_MS, this._targetMs * 1.5);
    this.port.postMessage({ type: "underrun", replyId: reply.id, targetMs: this._targetMs });
  }

  _end(id) {
    const reply = this._reply(id);
    reply.ended = true;
    if (reply.dry) this._finished(reply);
  }

  _finished(reply) {
    if (!reply.starved) this._targetMs = Math.max(FIRST_TARGET_MS, this._targetMs * 0.8);
    this.port.postMessage({ type: "finished", replyId: reply.id, playedMs: reply.playedMs });
  }

  _flush() {
    if (this._queue.length > 0) this._settle(this._queue[0]);
    const open = [...this._replies.values()].filter((reply) => !(reply.dry && reply.ended));
    const replies = open.map(({ id, playedMs }) => ({ replyId: id, playedMs }));
    this._queue = [];
    this._replies.clear();
    this._buffered = 0;
    this._waiting = true;
    this._waited = 0;
    this._resampler.reset();
    this.port.postMessage({ type: "flushed", replies });
  }

  /** Count what was played of a piece, which may be a part of it. */
  _settle(piece) {
    const left = piece.samples.length - piece.at;
    const ms = left > 0 ? (piece.ms * piece.at) / piece.samples.length : piece.ms;
    piece.reply.playedMs += ms;
    piece.ms -= ms;
    piece.samples = piece.samples.subarray(piece.at);
    piece.at = 0;
  }

  /** @param {Float32Array[][]} _inputs @param {Float32Array[][]} outputs */
  process(_inputs, outputs) {
    const out = outputs[0][0];
    if (this._waiting && this._queue.length > 0) this._wait(out.length);
    for (let at = 0; at < out.length; at += 1) {
      this._last = this._waiting ? this._last * DECLICK : this._next(at);
      out[at] = this._last;
      this._power += this._last * this._last;
    }
    for (let channel = 1; channel < outputs[0].length; channel += 1) outputs[0][channel].set(out);
    this._report(out.length);
    return true;
  }

  /** Begin once enough is there, or so much time has passed that no more will come soon. */
  _wait(frames) {
    this._waited += frames;
    const patienceMs = this._queue[0].reply.ended ? this._targetMs : LONGEST_WAIT_MS;
    if (inMs(this._buffered) >= this._targetMs || inMs(this._waited) >= patienceMs) {
      this._waiting = false;
      this._waited = 0;
    }
  }

  _next(at) {
    const piece = this._queue[0];
    const { reply } = piece;
    let sample = this._last;
    if (piece.at < piece.samples.length) {
      sample = piece.samples[piece.at];
      piece.at += 1;
      this._buffered -= 1;
    }
    if (!reply.audible && Math.abs(sample) >= AUDIBLE) {
      reply.audible = true;
      this.port.postMessage({ type: "audible", replyId: reply.id, atS: currentTime + at / sampleRate });
    }
    if (piece.at >= piece.samples.length) this._leave(piece);
    return sample;
  }

  /** A piece was played: go on to the next, or see why there is none. */
  _leave(piece) {
    const { reply } = piece;
    this._settle(piece);
    this._queue.shift();
    this._waiting = this._queue.length === 0;
    if (!this._waiting && this._queue[0].reply === reply) return;
    reply.dry = true;
    if (reply.ended) this._finished(reply);
  }

  _report(frames) {
    this._sinceReport += frames;
    if (inMs(this._sinceReport) < REPORT_MS) return;
    const level = decibels(this._power / this._sinceReport);
    const piece = this._waiting ? undefined : this._queue[0];
    if (piece !== undefined) this._settle(piece);
    this.port.postMessage({
      type: "position",
      replyId: piece?.reply.id,
      playedMs: piece?.reply.playedMs ?? 0,
      bufferedMs: inMs(this._buffered),
      level,
    });
    this._sinceReport = 0;
    this._power = 0;
  }
}

/** @param {number} samples of the device @returns {number} */
function inMs(samples) {
  return (samples / sampleRate) * 1000;
}

if (globalThis.registerProcessor !== undefined) {
  registerProcessor("talkpath-capture", Capture);
  registerProcessor("talkpath-playback", Playback);
}
