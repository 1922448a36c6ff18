/** Wire types. Source: Protocol Buffers documentation, "Encoding". */
const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** google.rpc.Status: `repeated google.protobuf.Any details = 3`. */
const STATUS_DETAILS = 3;
/** google.protobuf.Any: `string type_url = 1`, `bytes value = 2`. */
const ANY_TYPE_URL = 1;
const ANY_VALUE = 2;
/** google.rpc.RetryInfo: `google.protobuf.Duration retry_delay = 1`. */
const RETRY_DELAY = 1;
/** google.protobuf.Duration: `int64 seconds = 1`, `int32 nanos = 2`. */
const DURATION_SECONDS = 1;
const DURATION_NANOS = 2;

/**
 * Reads the delay of the `google.rpc.RetryInfo` in a serialised `google.rpc.Status`, the content of gRPC's
 * `grpc-status-details-bin`. Undefined if there is none or the status is malformed.
 */
export function retryDelayMs(status: Uint8Array): number | undefined {
  for (const detail of fieldsOf(status)) {
    if (detail.number !== STATUS_DETAILS || !(detail.value instanceof Uint8Array)) continue;
    const fields = [...fieldsOf(detail.value)];
    const typeUrl = bytesOf(fields, ANY_TYPE_URL);
    if (typeUrl === undefined || !Buffer.from(typeUrl).toString().endsWith('/google.rpc.RetryInfo')) continue;
    const duration = bytesOf([...fieldsOf(bytesOf(fields, ANY_VALUE) ?? EMPTY)], RETRY_DELAY) ?? EMPTY;
    const parts = [...fieldsOf(duration)];
    return Math.max(0, numberOf(parts, DURATION_SECONDS) * 1_000 + numberOf(parts, DURATION_NANOS) / 1e6);
  }
  return undefined;
}

const EMPTY = new Uint8Array();

interface Field {
  readonly number: number;
  readonly value: number | Uint8Array;
}

/** Yields the fields of a message. Stops at the first malformed byte. */
function* fieldsOf(message: Uint8Array): Generator<Field> {
  const view = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  let offset = 0;
  const readVarint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 64 && offset < view.length; shift += 7) {
      const byte = view[offset] ?? 0;
      offset += 1;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    return Number.NaN;
  };
  while (offset < view.length) {
    const tag = readVarint();
    const number = Math.floor(tag / 8);
    switch (tag % 8) {
      case VARINT:
        yield { number, value: readVarint() };
        break;
      case BYTES: {
        const length = readVarint();
        if (!(offset + length <= view.length)) return;
        yield { number, value: view.subarray(offset, offset + length) };
        offset += length;
        break;
      }
      case FIXED64:
        offset += 8;
        break;
      case FIXED32:
        offset += 4;
        break;
      default:
        return;
    }
  }
}

function bytesOf(fields: readonly Field[], number: number): Uint8Array | undefined {
  const value = fields.find((field) => field.number === number)?.value;
  return value instanceof Uint8Array ? value : undefined;
}

function numberOf(fields: readonly Field[], number: number): number {
  const value = fields.find((field) => field.number === number)?.value;
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}
