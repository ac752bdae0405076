// Frames from the server: a header, and planes of bytes.

/** The header and the pixels of a frame. `canvas` holds the pixels, each `scale` image pixels wide. */
export function readFrame(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const planes = new Uint8Array(buffer, 4 + length);
  const canvas = new OffscreenCanvas(header.columns, header.rows);
  const context = canvas.getContext("2d");
  const image = context.createImageData(header.columns, header.rows);
  interleave(planes, header, new Uint32Array(image.data.buffer));
  context.putImageData(image, 0, 0);
  return { ...header, canvas };
}

function interleave(planes, { rows, columns, channels, alpha }, pixels) {
  const count = rows * columns;
  const green = channels === 3 ? count : 0;
  const blue = channels === 3 ? 2 * count : 0;
  const opaque = 0xff000000; // little-endian, like all machines with browsers
  if (alpha) {
    const last = channels * count;
    for (let i = 0; i < count; i++) {
      pixels[i] = planes[i] | (planes[green + i] << 8) | (planes[blue + i] << 16) | (planes[last + i] << 24);
    }
  } else {
    for (let i = 0; i < count; i++) {
      pixels[i] = planes[i] | (planes[green + i] << 8) | (planes[blue + i] << 16) | opaque;
    }
  }
}
