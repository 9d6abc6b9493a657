/**
 * Microphone and loudspeaker of one call, in the wire's format: mono PCM16 at 24 kHz, base64.
 *
 * Owns the audio context, the two worklets and the choice of the microphone. Refuses the network and the meaning of
 * replies: it plays what it is given and says what was played.
 */

import { Problem, problemOfMicrophone } from "./talkpath-problems.js";

const WIRE_HZ = 24000;
const WORKLETS = new URL("./talkpath-worklets.js", import.meta.url);
const RESUME_MS = 500;
const GESTURES = ["pointerdown", "keydown"];

/**
 * @typedef {object} SoundHandlers
 * @property {(base64: string, level: number) => void} onSound 20 ms of the microphone, and its level in dBFS
 * @property {(told: any) => void} onPlayback what `talkpath-playback` tells, times in milliseconds of `performance.now()`
 * @property {(problem: Problem) => void} onProblem
 */

export class Sound {
  /** @param {SoundHandlers} handlers */
  constructor(handlers) {
    this._handlers = handlers;
    /** @type {AudioContext | undefined} */
    this._context = undefined;
    /** @type {MediaStream | undefined} */
    this._stream = undefined;
    /** @type {MediaStreamAudioSourceNode | undefined} */
    this._source = undefined;
    this._muted = false;
    this._closed = false;
  }

  /**
   * Open both ends; call it from a click or a key press, or the browser may hold the sound back.
   *
   * @param {MediaTrackConstraints | null} constraints of the microphone; null goes without one and sends silence
   * @throws {Problem}
   */
  async open(constraints) {
    // Made before anything is waited for: the browser counts it as part of the click only then.
    this._context = makeContext(WIRE_HZ);
    if (constraints !== null) this._stream = await openMicrophone(constraints);
    try {
      await this._connect();
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== "NotSupportedError") throw soundFailed(error);
      // Firefox connects no microphone to a context of another rate; the worklets resample instead.
      await this._context.close();
      this._context = makeContext();
      await this._connect().catch((again) => {
        throw soundFailed(again);
      });
    }
    if (this._closed) this.close();
    else await this._start();
  }

  /** Stop everything at once and let go of the microphone. */
  close() {
    this._closed = true;
    this._stopMicrophone();
    if (this._context !== undefined && this._context.state !== "closed") this._context.close();
  }

  /** @param {boolean} muted whether silence is sent instead of the microphone */
  mute(muted) {
    this._muted = muted;
    for (const track of this._stream?.getAudioTracks() ?? []) track.enabled = !muted;
  }

  /**
   * Go on with another microphone.
   *
   * @param {MediaTrackConstraints} constraints
   * @throws {Problem} and the one before stays
   */
  async useMicrophone(constraints) {
    const stream = await openMicrophone(constraints);
    this._stopMicrophone();
    this._stream = stream;
    if (this._closed) this._stopMicrophone();
    else this._connectMicrophone();
  }

  /** @param {string} replyId @param {ArrayBuffer} audio PCM16 of the wire's rate; it is given away */
  play(replyId, audio) {
    this._playback?.port.postMessage({ replyId, audio }, [audio]);
  }

  /** No more of a reply is to be expected. @param {string} replyId */
  end(replyId) {
    this._playback?.port.postMessage({ end: replyId });
  }

  /** Fall silent within milliseconds and drop everything that has not been played. */
  flush() {
    this._playback?.port.postMessage({ flush: true });
  }

  /** What the agent says, as a node of an audio graph: for recorders and pictures of sound. */
  get output() {
    return this._playback;
  }

  /** How long sound takes from the worklet to the ear, as far as the browser knows. */
  get latencyMs() {
    const { outputLatency, baseLatency } = this._context ?? {};
    return (outputLatency || baseLatency || 0) * 1000;
  }

  async _connect() {
    const context = this._context;
    await context.audioWorklet.addModule(WORKLETS);
    this._capture = new AudioWorkletNode(context, "talkpath-capture", { numberOfOutputs: 1, channelCount: 1 });
    this._capture.port.onmessage = ({ data }) => this._handlers.onSound(toBase64(data.pcm), data.level);
    this._playback = new AudioWorkletNode(context, "talkpath-playback", { numberOfInputs: 0 });
    this._playback.port.onmessage = ({ data }) => this._handlers.onPlayback(this._timed(data));
    // A node that leads nowhere is not run; what the capture puts out is silence.
    this._capture.connect(context.destination);
    this._playback.connect(context.destination);
    this._connectMicrophone();
  }

  _connectMicrophone() {
    this._source?.disconnect();
    if (this._stream === undefined) return;
    this._source = this._context.createMediaStreamSource(this._stream);
    this._source.connect(this._capture);
    this.mute(this._muted);
    for (const track of this._stream.getAudioTracks()) {
      track.onended = () => this._handlers.onProblem(new Problem("microphone_lost"));
    }
  }

  _stopMicrophone() {
    for (const track of this._stream?.getTracks() ?? []) {
      track.onended = null;
      track.stop();
    }
    this._stream = undefined;
  }

  async _start() {
    const context = this._context;
    const resumed = context.resume().then(() => true);
    const late = new Promise((resolve) => setTimeout(() => resolve(false), RESUME_MS));
    if (await Promise.race([resumed, late])) return;
    this._handlers.onProblem(new Problem("sound_blocked"));
    const resume = () => {
      for (const gesture of GESTURES) removeEventListener(gesture, resume, true);
      if (context.state !== "closed") context.resume();
    };
    for (const gesture of GESTURES) addEventListener(gesture, resume, true);
  }

  /** What the playback tells, with the moment at which it reaches the ear. */
  _timed(told) {
    if (told.atS === undefined) return told;
    const inMs = (told.atS - this._context.currentTime) * 1000;
    return { ...told, at: performance.now() + inMs + this.latencyMs };
  }
}

/** @param {number} [sampleRate] */
function makeContext(sampleRate) {
  if (globalThis.AudioContext === undefined || globalThis.AudioWorkletNode === undefined) {
    // AudioWorklet, too, is for secure pages only.
    throw new Problem(globalThis.isSecureContext ? "sound_failed" : "insecure_page");
  }
  try {
    return new AudioContext({ sampleRate, latencyHint: "interactive" });
  } catch (error) {
    if (sampleRate !== undefined) return makeContext();
    throw soundFailed(error);
  }
}

/** @param {MediaTrackConstraints} constraints */
async function openMicrophone(constraints) {
  if (navigator.mediaDevices?.getUserMedia === undefined) throw new Problem("insecure_page");
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: constraints });
  } catch (error) {
    throw problemOfMicrophone(error);
  }
}

function soundFailed(error) {
  return error instanceof Problem ? error : new Problem("sound_failed", String(error));
}

/** @param {ArrayBuffer} buffer */
function toBase64(buffer) {
  return btoa(String.fromCharCode(...new Uint8Array(buffer)));
}

/**
 * @param {string} base64
 * @returns {ArrayBuffer} whole samples; half a one at the end is left out
 */
export function fromBase64(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length & ~1);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = text.charCodeAt(at);
  return bytes.buffer;
}
