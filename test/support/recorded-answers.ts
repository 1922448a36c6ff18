import type { Reason } from '../../src/api/reasons.ts';
import type { BucketPlan } from '../../src/api/run.ts';
import type { OperationName } from '../../src/s3/operations.ts';
import { type CannedResponse, errorXml } from './reason-cases.ts';

/** What a store that no test can run answers in one situation, and the reason that a run must report. */
export interface RecordedAnswer {
  readonly store: string;
  readonly situation: string;
  /** Where the answers are described. None of them was recorded here. */
  readonly source: string;
  /** Default: `Ephemeral`. */
  readonly mode?: BucketPlan['mode'];
  /** Requests that are not listed succeed. */
  readonly answers: Partial<Record<OperationName, CannedResponse>>;
  /** Absent if the run passes. */
  readonly reason?: Reason;
}

const XML = { 'content-type': 'application/xml' };
const AWS = { ...XML, 'x-amz-request-id': 'EXAMPLE', 'x-amz-id-2': 'EXAMPLE' };
const CEPH = { ...XML, 'x-amz-request-id': 'tx000001-default' };
const OSS = { ...XML, server: 'AliyunOSS', 'x-amz-request-id': 'EXAMPLE', 'x-oss-ec': '0003-00001401' };
const COS = { ...XML, server: 'tencent-cos', 'x-cos-request-id': 'EXAMPLE' };
const GCS = { ...XML, server: 'UploadServer', 'x-guploader-uploadid': 'EXAMPLE' };
const R2 = { ...XML, server: 'cloudflare', 'cf-ray': 'EXAMPLE' };
const HTML = { 'content-type': 'text/html; charset=utf-8', server: 'Werkzeug/3.0' };

const AWS_ERRORS = 'Amazon S3 API Reference, "Error responses" and "HeadBucket"';
const CEPH_ERRORS = "Ceph's src/rgw/rgw_common.cc";
const GARAGE_ERRORS = "Garage's src/api/s3/error.rs";

export const RECORDED_ANSWERS: readonly RecordedAnswer[] = [
  {
    store: 'AWS',
    situation: 'a bucket in another region, at its own endpoint',
    source: AWS_ERRORS,
    mode: 'Existing',
    answers: { HeadBucket: { status: 301, headers: { ...AWS, 'x-amz-bucket-region': 'eu-west-1' } } },
    reason: 'RegionMismatch',
  },
  {
    store: 'AWS',
    situation: 'a region that differs from that of the endpoint',
    source: AWS_ERRORS,
    answers: {
      HeadBucket: { status: 400, headers: AWS },
      GetBucketLocation: {
        status: 400,
        headers: AWS,
        text: errorXml('AuthorizationHeaderMalformed', '<Region>eu-west-1</Region>'),
      },
    },
    reason: 'RegionMismatch',
  },
  {
    store: 'AWS',
    situation: 'a bucket that was removed a moment ago',
    source: AWS_ERRORS,
    answers: {
      HeadBucket: { status: 404, headers: AWS },
      CreateBucket: { status: 409, headers: AWS, text: errorXml('OperationAborted') },
    },
    reason: 'TransientConflict',
  },
  {
    store: 'AWS',
    situation: 'an account with too many buckets',
    source: AWS_ERRORS,
    answers: {
      HeadBucket: { status: 404, headers: AWS },
      CreateBucket: { status: 400, headers: AWS, text: errorXml('TooManyBuckets') },
    },
    reason: 'BucketLimitReached',
  },
  {
    store: 'AWS',
    situation: 'a policy without s3:ListBucket',
    source: AWS_ERRORS,
    mode: 'Existing',
    answers: { HeadObject: { status: 403, headers: AWS } },
    reason: 'AccessDenied',
  },
  {
    store: 'Ceph RGW',
    situation: 'a suspended user',
    source: CEPH_ERRORS,
    answers: {
      HeadBucket: { status: 403, headers: CEPH },
      GetBucketLocation: { status: 403, headers: CEPH, text: errorXml('UserSuspended', '<Message/>') },
    },
    reason: 'AccountDisabled',
  },
  {
    store: 'Ceph RGW',
    situation: 'an exhausted quota',
    source: CEPH_ERRORS,
    answers: { PutObject: { status: 403, headers: CEPH, text: errorXml('QuotaExceeded', '<Message/>') } },
    reason: 'StorageFull',
  },
  {
    store: 'Garage',
    situation: 'a region other than garage',
    source: GARAGE_ERRORS,
    answers: {
      HeadBucket: { status: 400, headers: XML },
      GetBucketLocation: {
        status: 400,
        headers: XML,
        text: errorXml('AuthorizationHeaderMalformed', '<Region>garage</Region>'),
      },
    },
    reason: 'RegionMismatch',
  },
  {
    store: 'Alibaba OSS',
    situation: 'path-style addressing',
    source: 'treeverse/lakeFS issue 3613, vectordotdev/vector issue 20746',
    answers: {
      HeadBucket: { status: 403, headers: OSS },
      GetBucketLocation: { status: 403, headers: OSS, text: errorXml('SecondLevelDomainForbidden') },
    },
    reason: 'AddressingStyle',
  },
  {
    store: 'Tencent COS',
    situation: 'path-style addressing of a bucket created since 2024',
    source: 'gobackup/gobackup issue 268',
    answers: {
      HeadBucket: { status: 403, headers: COS },
      GetBucketLocation: { status: 403, headers: COS, text: errorXml('PathStyleDomainForbidden') },
    },
    reason: 'AddressingStyle',
  },
  {
    store: 'Cloudflare R2',
    situation: 'a region other than auto',
    source: 'onyx-dot-app/onyx issue 10971, jeessy2/backup-x issue 127',
    answers: {
      HeadBucket: { status: 400, headers: R2 },
      GetBucketLocation: { status: 400, headers: R2, text: errorXml('InvalidRegionName') },
    },
    reason: 'RegionMismatch',
  },
  {
    store: 'Google Cloud Storage',
    situation: 'a wrong HMAC secret',
    source: 'Cloud Storage XML API, "HTTP status and error codes"',
    answers: {
      HeadBucket: { status: 403, headers: GCS },
      GetBucketLocation: { status: 403, headers: GCS, text: errorXml('SignatureDoesNotMatch') },
    },
    reason: 'SignatureMismatch',
  },
  {
    store: 'Google Cloud Storage',
    situation: 'a bucket name that another project uses',
    source: 'Cloud Storage XML API, "HTTP status and error codes"',
    answers: {
      HeadBucket: { status: 404, headers: GCS },
      CreateBucket: { status: 409, headers: GCS, text: errorXml('BucketNameUnavailable') },
    },
    reason: 'BucketConflict',
  },
  {
    store: 'moto, LocalStack',
    situation: 'a bucket that does not exist yet',
    source: "moto's moto/s3/responses.py",
    answers: { HeadBucket: { status: 404, headers: HTML } },
  },
  {
    store: 'moto, LocalStack',
    situation: 'an existing bucket that is missing',
    source: "moto's moto/s3/responses.py",
    mode: 'Existing',
    answers: {
      HeadBucket: { status: 404, headers: HTML },
      GetBucketLocation: { status: 404, headers: XML, text: errorXml('NoSuchBucket') },
    },
    reason: 'BucketMissing',
  },
];
