/**
 * Attribute keys of our spans. Except for `function.name`, keys without the `storageprobe.` prefix are OpenTelemetry
 * semantic conventions.
 */
export {
  ATTR_AWS_EXTENDED_REQUEST_ID,
  ATTR_AWS_REQUEST_ID,
  ATTR_AWS_S3_BUCKET,
  ATTR_AWS_S3_KEY,
  ATTR_ERROR_TYPE,
  ATTR_HTTP_REQUEST_BODY_SIZE,
  ATTR_HTTP_REQUEST_METHOD,
  ATTR_HTTP_RESPONSE_BODY_SIZE,
  ATTR_HTTP_RESPONSE_HEADER,
  ATTR_HTTP_RESPONSE_STATUS_CODE,
  ATTR_NETWORK_PEER_ADDRESS,
  ATTR_NETWORK_PEER_PORT,
  ATTR_NETWORK_PROTOCOL_VERSION,
  ATTR_RPC_METHOD,
  ATTR_RPC_SYSTEM_NAME,
  ATTR_SERVER_ADDRESS,
  ATTR_SERVER_PORT,
  ATTR_TLS_PROTOCOL_NAME,
  ATTR_TLS_PROTOCOL_VERSION,
  ATTR_TLS_SERVER_NOT_AFTER,
  ATTR_USER_AGENT_SYNTHETIC_TYPE,
  USER_AGENT_SYNTHETIC_TYPE_VALUE_TEST,
} from '@opentelemetry/semantic-conventions/incubating';

/** Stable name of a step. The key is the one that the talk's program uses. */
export const ATTR_FUNCTION_NAME = 'function.name';
export const ATTR_PROBE_NAMESPACE = 'storageprobe.probe.namespace';
export const ATTR_PROBE_NAME = 'storageprobe.probe.name';
export const ATTR_TARGET = 'storageprobe.target';
export const ATTR_RUN_ID = 'storageprobe.run.id';
export const ATTR_VERDICT = 'storageprobe.verdict';
/** Why the run did not pass: a key of REASONS. Absent when it passed. */
export const ATTR_REASON = 'storageprobe.reason';
export const ATTR_FAILED_STEP = 'storageprobe.failed_step';
export const ATTR_BUCKET_MODE = 'storageprobe.bucket.mode';
/** Size of each object in the run, in bytes. */
export const ATTR_OBJECT_SIZES = 'storageprobe.object.sizes';
export const ATTR_CONNECTION_REUSED = 'storageprobe.connection.reused';
/** One text per attempt to connect, in the order of their start: address, outcome and ms. Absent if there was only one. */
export const ATTR_CONNECTION_ATTEMPTS = 'storageprobe.connection.attempts';
/** `host:port` of the proxy. Absent if the connection is direct. */
export const ATTR_CONNECTION_PROXY = 'storageprobe.connection.proxy';
/** Prefix of the phase durations of a call; the phase and `_ms` follow. */
export const ATTR_PHASE_PREFIX = 'storageprobe.phase.';
