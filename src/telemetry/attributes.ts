/**
 * Attribute keys of our spans. Except for `function.name`, keys without the `storageprobe.` prefix are OpenTelemetry
 * semantic conventions.
 */

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
/** Expiry time of the server's certificate, ISO 8601. */
export const ATTR_CERTIFICATE_NOT_AFTER = 'storageprobe.tls.certificate.not_after';
/** Prefix of the phase durations of a call; the phase and `_ms` follow. */
export const ATTR_PHASE_PREFIX = 'storageprobe.phase.';

export const ATTR_AWS_REQUEST_ID = 'aws.request_id';
export const ATTR_AWS_EXTENDED_REQUEST_ID = 'aws.extended_request_id';
export const ATTR_AWS_S3_BUCKET = 'aws.s3.bucket';
export const ATTR_AWS_S3_KEY = 'aws.s3.key';
export const ATTR_ERROR_TYPE = 'error.type';
export const ATTR_HTTP_REQUEST_BODY_SIZE = 'http.request.body.size';
export const ATTR_HTTP_RESPONSE_BODY_SIZE = 'http.response.body.size';
export const ATTR_HTTP_RESPONSE_STATUS_CODE = 'http.response.status_code';
export const ATTR_HTTP_RESPONSE_SERVER = 'http.response.header.server';
export const ATTR_NETWORK_PEER_ADDRESS = 'network.peer.address';
export const ATTR_RPC_METHOD = 'rpc.method';
export const ATTR_RPC_SYSTEM_NAME = 'rpc.system.name';
export const ATTR_SERVER_ADDRESS = 'server.address';
export const ATTR_SERVER_PORT = 'server.port';
export const ATTR_TLS_PROTOCOL_VERSION = 'tls.protocol.version';
/** Marks the traffic as synthetic, so that other tools can filter it out. */
export const ATTR_USER_AGENT_SYNTHETIC_TYPE = 'user_agent.synthetic.type';
