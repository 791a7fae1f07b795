// A camera picture for screenshots: a person drawn on a canvas instead of the
// test pattern of the fake camera, and silence instead of its beep for all but
// who speaks. It runs in the page, before its scripts, and so may use nothing
// from outside itself.

export function portrait({ number, speaks }) {
  const looks = [
    { wall: ["#7c5c46", "#2b1f1a"], skin: "#8d5a3b", hair: "#1d1512", shirt: "#d9a441" },
    { wall: ["#4e6b78", "#1b262d"], skin: "#f0c9a8", hair: "#c9974e", shirt: "#2f4858" },
    { wall: ["#5b6e52", "#20281d"], skin: "#d9a27c", hair: "#5a2f1f", shirt: "#8c3b4a" },
    { wall: ["#5a5478", "#1f1d2b"], skin: "#a8704a", hair: "#15110f", shirt: "#3f7f74" },
  ];
  const { wall, skin, hair, shirt } = looks[number % looks.length];
  const canvas = document.createElement("canvas");
  canvas.width = 640;
  canvas.height = 360;
  const draw = canvas.getContext("2d");

  function ellipse(x, y, rx, ry, colour) {
    draw.fillStyle = colour;
    draw.beginPath();
    draw.ellipse(x, y, rx, ry, 0, 0, Math.PI * 2);
    draw.fill();
  }

  function paint(time) {
    const x = 320 + 5 * Math.sin(time / 900 + number);
    const y = 165 + 3 * Math.sin(time / 600 + number);
    const light = draw.createRadialGradient(190, 60, 20, 320, 180, 460);
    wall.forEach((colour, i) => light.addColorStop(i, colour));
    draw.fillStyle = light;
    draw.fillRect(0, 0, 640, 360);
    if (number % 2) ellipse(x, y + 22, 84, 112, hair); // long hair
    ellipse(320, 385, 165, 125, shirt);
    draw.fillStyle = skin;
    draw.fillRect(x - 26, y + 50, 52, 66);
    ellipse(x, y + 116, 26, 16, skin);
    ellipse(x, y - 22, 72, 72, hair);
    ellipse(x, y + 8, 62, 76, skin);
    draw.save(); // the fringe
    draw.beginPath();
    draw.ellipse(x, y + 8, 64, 78, 0, 0, Math.PI * 2);
    draw.clip();
    ellipse(x - 14, y - 62, 78, 42, hair);
    draw.restore();
    const blink = Math.sin(time / 1100 + number * 2) > 0.985 ? 1 : 6;
    ellipse(x - 23, y + 8, 6, blink, "#1b1513");
    ellipse(x + 23, y + 8, 6, blink, "#1b1513");
    draw.strokeStyle = "#5b2a22";
    draw.lineWidth = 4;
    draw.lineCap = "round";
    draw.beginPath();
    draw.arc(x, y + 34, 19, 0.2 * Math.PI, 0.8 * Math.PI);
    draw.stroke();
  }
  setInterval(() => paint(performance.now()), 40);

  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (constraints) => {
    const quiet = () => new AudioContext().createMediaStreamDestination().stream;
    const stream = !constraints.audio ? new MediaStream() : speaks ? await real({ audio: constraints.audio }) : quiet();
    if (constraints.video) canvas.captureStream(25).getVideoTracks().forEach((track) => stream.addTrack(track));
    return stream;
  };
}
