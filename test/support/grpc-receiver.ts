import {
  Metadata,
  Server,
  ServerCredentials,
  type ServiceError,
  type sendUnaryData,
  type ServerUnaryCall,
} from '@grpc/grpc-js';
import { onTestFinished } from 'vitest';

const raw = (bytes: Buffer): Buffer => bytes;

export interface GrpcReceiver {
  /** `http://127.0.0.1:PORT`, or `https:`. */
  readonly url: string;
  /** Metadata of each request. */
  readonly metadata: Metadata[];
}

export interface GrpcReceiverOptions {
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Serves another service instead of OTLP. */
  readonly isOtherService?: boolean;
}

/** Starts an OTLP/gRPC receiver that stops after the test. `answer` handles each request; without it, requests hang. */
export async function startGrpcReceiver(
  answer?: (done: sendUnaryData<Buffer>, request: Buffer) => void,
  { tls, isOtherService = false }: GrpcReceiverOptions = {},
): Promise<GrpcReceiver> {
  const server = new Server();
  const metadata: Metadata[] = [];
  const service = isOtherService ? 'other.Service' : 'opentelemetry.proto.collector.trace.v1.TraceService';
  const method = {
    path: `/${service}/Export`,
    requestStream: false,
    responseStream: false,
    requestSerialize: raw,
    requestDeserialize: raw,
    responseSerialize: raw,
    responseDeserialize: raw,
  } as const;
  server.addService(
    { Export: method },
    {
      Export: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
        metadata.push(call.metadata);
        answer?.(done, call.request);
      },
    },
  );
  const credentials =
    tls === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(null, [
          { cert_chain: Buffer.from(tls.cert), private_key: Buffer.from(tls.key) },
        ]);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  onTestFinished(() => {
    server.forceShutdown();
  });
  return { url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`, metadata };
}

/** @param details serialised `google.rpc.Status`. */
export function grpcError(code: number, details?: Uint8Array): Partial<ServiceError> {
  const metadata = new Metadata();
  if (details !== undefined) metadata.set('grpc-status-details-bin', Buffer.from(details));
  return { code, details: `code ${code}`, metadata };
}

/** A serialised `google.rpc.Status` with code 8 and one detail. */
export function statusWithDetail(type: string, value: readonly number[]): Uint8Array {
  const typeUrl = Buffer.from(`type.googleapis.com/${type}`);
  const detail = [0x0a, typeUrl.length, ...typeUrl, 0x12, value.length, ...value];
  return new Uint8Array([0x08, 8, 0x1a, detail.length, ...detail]);
}
