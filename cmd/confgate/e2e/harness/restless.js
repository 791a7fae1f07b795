/**
 * A camera whose pictures take several packets each, as those of real cameras do; the
 * fake one's take hardly more than one. By default they are too small for a second
 * layer: which one a subscriber gets depends on how busy the machine is, and so would
 * the number of frames. It runs in the page, before its scripts, and so may use nothing from
 * outside itself.
 */
export function restlessPicture({ width, height } = { width: 400, height: 224 }) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const draw = canvas.getContext("2d");
  setInterval(() => {
    for (let i = 0; i < 60; i++) {
      draw.fillStyle = `hsl(${360 * Math.random()} 70% ${30 + 40 * Math.random()}%)`;
      draw.fillRect(width * Math.random(), height * Math.random(), 60, 40);
    }
  }, 40);
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (constraints) => {
    const stream = constraints.audio ? await real({ audio: constraints.audio }) : new MediaStream();
    if (constraints.video) canvas.captureStream(25).getVideoTracks().forEach((track) => stream.addTrack(track));
    return stream;
  };
}
