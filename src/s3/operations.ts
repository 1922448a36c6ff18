interface OperationInfo {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'DELETE';
  /** True if the request names an object. */
  readonly isObject: boolean;
  /** Permission that the request needs. Source: Amazon S3 User Guide, "Required permissions for Amazon S3 API operations". */
  readonly action: string;
}

/** The S3 requests of the probe. */
export const OPERATIONS = {
  HeadBucket: { method: 'HEAD', isObject: false, action: 's3:ListBucket' },
  GetBucketLocation: { method: 'GET', isObject: false, action: 's3:GetBucketLocation' },
  CreateBucket: { method: 'PUT', isObject: false, action: 's3:CreateBucket' },
  DeleteBucket: { method: 'DELETE', isObject: false, action: 's3:DeleteBucket' },
  ListObjectsV2: { method: 'GET', isObject: false, action: 's3:ListBucket' },
  ListObjectVersions: { method: 'GET', isObject: false, action: 's3:ListBucketVersions' },
  ListMultipartUploads: { method: 'GET', isObject: false, action: 's3:ListBucketMultipartUploads' },
  PutObject: { method: 'PUT', isObject: true, action: 's3:PutObject' },
  GetObject: { method: 'GET', isObject: true, action: 's3:GetObject' },
  HeadObject: {
    method: 'HEAD',
    isObject: true,
    action: 's3:GetObject, and s3:ListBucket if the object is missing',
  },
  DeleteObject: {
    method: 'DELETE',
    isObject: true,
    action: 's3:DeleteObject, and s3:DeleteObjectVersion for a version',
  },
  AbortMultipartUpload: { method: 'DELETE', isObject: true, action: 's3:AbortMultipartUpload' },
} as const satisfies Record<string, OperationInfo>;

/** S3 name of an operation. */
export type OperationName = keyof typeof OPERATIONS;
