import type { Reason } from '../api/reasons.ts';

/**
 * Error codes of S3 stores by reason. One line per reason; codes are separated by spaces.
 *
 * In MinIO, `SlowDownRead` and `SlowDownWrite` mean that quorum was lost. `XAdminUserNotFound` is VersityGW's code for an
 * unknown access key. The codes below `RequestInvalid` belong to requests that the probe does not make, or mean that
 * a proxy or a bug changed a request.
 *
 * Sources: Amazon S3 API Reference, "Error responses"; MinIO `cmd/api-errors.go`; Ceph `rgw_common.cc`; Garage
 * `src/api`; VersityGW `s3err`; error codes of Alibaba OSS, Tencent COS, Google Cloud Storage and Cloudflare R2.
 */
const CODES_BY_REASON: Readonly<Partial<Record<Reason, string>>> = {
  InvalidAccessKey: `
    InvalidAccessKeyId XMinioInvalidIAMCredentials XMinioAdminNoSuchAccessKey XMinioAdminInvalidAccessKey
    XMinioAdminNoSuchUser XAdminUserNotFound NoSuchUser NoSuchSubUser NoSuchEntity
  `,
  SignatureMismatch:
    'SignatureDoesNotMatch InvalidSignature InvalidSecurity InvalidSecretKey XMinioAdminInvalidSecretKey',
  CredentialsExpired: `
    ExpiredToken InvalidToken InvalidTokenId TokenRefreshRequired TokenCodeInvalidError
    InvalidSessionException InvalidSecurityToken SecurityTokenExpired
  `,
  AccountDisabled: `
    AccountProblem AllAccessDisabled NotSignedUp InvalidPayer UserSuspended UserDisable UserDisabled
    XMinioAdminGroupDisabled AccountArrears InArrearOrInsufficientBalance Arrears DeviceNotActiveError
  `,
  ClockSkew: 'RequestTimeTooSkewed RequestExpired',
  AccessDenied: `
    AccessDenied AccessForbidden UnauthorizedAccess UnauthorizedAccessError UnexpectedIPError
    XAdminAccessDenied NotDeviceOwnerError MissingAuthenticationToken XMinioInsecureClientRequest
    PostPolicyInvalidKeyName SecurityTokenNotSupported CredentialsNotSupported
  `,
  RegionMismatch: `
    AuthorizationHeaderMalformed IllegalLocationConstraintException InvalidLocationConstraint
    InvalidRegion InvalidRegionName IncorrectEndpoint
  `,
  Redirected: `
    PermanentRedirect PermanentRedirectControlError TemporaryRedirect Redirect EndpointNotFound
    WebsiteRedirect
  `,
  AddressingStyle: `
    SecondLevelDomainForbidden PathStyleDomainForbidden InvalidHostHeader InvalidAddressingHeader
    InvalidBucketDomain
  `,
  BucketNameInvalid: 'InvalidBucketName',
  BucketMissing: 'NoSuchBucket',
  ObjectMissing: 'NoSuchKey NoSuchVersion',
  BucketConflict: `
    BucketAlreadyExists BucketAlreadyOwnedByYou BucketNotEmpty BucketHasAccessPointsAttached
    DeleteConflict ErrDirectoryNotEmpty BucketNameUnavailable
  `,
  BucketLimitReached: 'TooManyBuckets LimitExceeded',
  TransientConflict: `
    OperationAborted ConditionalRequestConflict ConcurrentModification Locked RestoreAlreadyInProgress
    ObjectSerializationConflict Busy
  `,
  ObjectLocked: 'FileImmutable ObjectLocked RetentionPolicyNotMet ObjectUnderActiveHold',
  UploadCorrupted: `
    BadDigest XAmzContentSHA256Mismatch XAmzContentChecksumMismatch IncompleteBody ExcessData
    UnprocessableEntity MissingRequestBodyError MalformedTrailerError InvalidChunkSizeError CrcMismatch
  `,
  EncryptionFailed: `
    KMS.DisabledException KMS.InvalidKeyUsageException KMS.KMSInvalidStateException KMS.NotFoundException
    KMS.DefaultKeyAlreadyConfiguredException InvalidEncryptionAlgorithmError XMinioEncryptionError
    XMinioObjectTampered XMinioInvalidDecompressedSize ServerSideEncryptionConfigurationNotFoundError
    CloudKmsBadKey CloudKmsDisabledKey CloudKmsDecryptionKeyNotFound CloudKmsEncryptionKeyNotFound
    CloudKmsKeyLocationNotAllowed
  `,
  SlowDown: `
    SlowDown ServerBusy TooManyRequests RequestLimitExceeded Throttling ThrottlingException
    QpsLimitExceeded TotalQpsLimitExceeded DownloadTrafficRateLimitExceeded
    UploadTrafficRateLimitExceeded BandwidthLimitExceeded
  `,
  QuorumLost: 'SlowDownRead SlowDownWrite XMinioAdminConfigNoQuorum',
  StorageFull: `
    XMinioStorageFull XMinioAdminBucketQuotaExceeded QuotaExceeded InsufficientStorage
    StorageQuotaExceeded
  `,
  RequestTooLarge: 'EntityTooLarge MaxMessageLengthExceeded',
  RequestTimeout: 'RequestTimeout ClientDisconnected ConnectionClosedByRequester',
  ServerNotReady: 'XMinioServerNotInitialized XMinioIAMNotInitialized XMinioBucketMetadataNotInitialized',
  ServerError: `
    InternalError ServiceUnavailable XMinioBackendDown XGCSInternalError UnknownError ServerTimeout
    Timeout ResponseInterrupted ZonegroupDefaultPlacementMisconfiguration
    XMinioSiteReplicationBackendIssue XMinioSiteReplicationBucketConfigError
    XMinioSiteReplicationBucketMetaError XMinioSiteReplicationIAMError
    XMinioSiteReplicationServiceAccountError XMinioSiteReplicationPeerResp
    XMinioAdminReplicationRemoteConnectionError
  `,
  NotSupported: `
    NotImplemented MethodNotAllowed UnsupportedSignature UnsupportedArgument UnsupportedFunction
    UnsupportedNotification UnsupportedRangeHeader UnsupportedSqlOperation UnsupportedSqlStructure
    UnsupportedSyntax InvalidHttpMethod AccessControlListNotSupported OperationNotSupported
    XMinioLDAPNotEnabled OpenIDNotEnabled XMinioHealNotImplemented XAdminMethodNotSupported
    VersioningNotConfigured
  `,
  RequestInvalid: `
    400 AccessPointAlreadyOwnedByYou AmbiguousGrantByEmailAddress AuthorizationParametersError
    AuthorizationQueryParametersError BadRequest CastFailed ClientTokenConflict
    CrossLocationLoggingProhibited DirectoryObjectContainsData EmailExists EmptyRequestBody
    EntityAlreadyExists EntityTooSmall ErrEvaluatorBindingDoesNotExist EvaluatorInvalidArguments
    EvaluatorInvalidTimestampFormatPattern EvaluatorInvalidTimestampFormatPatternSymbol
    EvaluatorInvalidTimestampFormatPatternSymbolForParsing EvaluatorInvalidTimestampFormatPatternToken
    EvaluatorTimestampFormatPatternDuplicateFields EvaluatorUnterminatedTimestampFormatPatternToken
    ExistingObjectIsDirectory ExpressionTooLong IllegalSqlFunctionArgument
    IllegalVersioningConfigurationException IncorrectNumberOfFilesInPostRequest
    IncorrectSqlFunctionArgumentType InlineDataTooLarge IntegerOverflow InvalidAccessPoint
    InvalidAccessPointAliasError InvalidArgument InvalidBucketAclWithObjectOwnership
    InvalidBucketOwnerAWSAccountID InvalidBucketState InvalidCapability InvalidCast InvalidColumnIndex
    InvalidCompressionFormat InvalidDataSource InvalidDataType InvalidDigest InvalidDuration
    InvalidExpressionType InvalidFileHeaderInfo InvalidHeaderValue InvalidJsonType InvalidKeyPath
    InvalidKeyType InvalidLifecycleWithObjectLock InvalidObjectName InvalidObjectState InvalidPart
    InvalidPartNumber InvalidPartOrder InvalidPolicyDocument InvalidPrefixMarker InvalidQuoteFields
    InvalidRange InvalidRedirectLocation InvalidRequest InvalidRequestParameter InvalidRetentionPeriod
    InvalidSOAPRequest InvalidStorageClass InvalidTableAlias InvalidTag InvalidTargetBucketForLogging
    InvalidTenantName InvalidTextEncoding InvalidURI KeyExists KeyTooLongError LambdaARNInvalid
    LambdaARNNotFound LexerInvalidChar LexerInvalidIONLiteral LexerInvalidLiteral LexerInvalidOperator
    LikeInvalidInputs MalformedACLError MalformedDate MalformedJSON MalformedPOSTRequest MalformedPolicy
    MalformedPolicyDocument MalformedXML MaxPostPreDataLengthExceededError MaxVersionsExceeded
    MetadataTooLarge MissingAttachment MissingContentLength MissingContentMD5 MissingFields
    MissingHeaders MissingRequiredParameter MissingSecurityElement MissingSecurityHeader
    NoLoggingStatusForKey NoSuchAccessPoint NoSuchAsyncRequest NoSuchBucketLifecycle NoSuchBucketPolicy
    NoSuchCORSConfiguration NoSuchConfiguration NoSuchLifecycleConfiguration NoSuchMultiRegionAccessPoint
    NoSuchObjectLockConfiguration NoSuchPublicAccessBlockConfiguration NoSuchRole NoSuchTagSet
    NoSuchTagSetError NoSuchUpload NoSuchWebsiteConfiguration NoTransformationDefined NotModified
    ObjectAlreadyExists ObjectLockConfigurationNotFoundError ObjectNotAppendable ObjectParentIsFile
    OwnershipControlsNotFoundError ParseAsteriskIsNotAloneInSelectList
    ParseCannotMixSqbAndWildcardInSelectList ParseCastArity ParseEmptySelect ParseExpected2TokenTypes
    ParseExpectedArgumentDelimiter ParseExpectedDatePart ParseExpectedExpression
    ParseExpectedIdentForAlias ParseExpectedIdentForAt ParseExpectedIdentForGroupName
    ParseExpectedKeyword ParseExpectedLeftParenAfterCast ParseExpectedLeftParenBuiltinFunctionCall
    ParseExpectedLeftParenValueConstructor ParseExpectedMember ParseExpectedNumber
    ParseExpectedRightParenBuiltinFunctionCall ParseExpectedTokenType ParseExpectedTypeName
    ParseExpectedWhenClause ParseInvalidContextForWildcardInSelectList ParseInvalidTypeParam
    ParseMalformedJoin ParseMissingIdentAfterAt ParseNonUnaryAggregateFunctionCall ParseSelectMissingFrom
    ParseUnexpectedKeyword ParseUnexpectedOperator ParseUnexpectedTerm ParseUnexpectedToken
    ParseUnknownOperator ParseUnsupportedAlias ParseUnsupportedCallWithStar ParseUnsupportedCase
    ParseUnsupportedCaseClause ParseUnsupportedLiteralsGroupBy ParseUnsupportedSelect
    ParseUnsupportedSyntax ParseUnsupportedToken PolicyInvalidName PolicyTooLarge
    PositionNotEqualToLength PreconditionFailed RemoteDestinationNotFoundError
    RemoteTargetNotVersionedError ReplicationConfigurationNotFoundError
    ReplicationDestinationMissingLockError ReplicationPermissionCheck ReplicationSourceNotVersionedError
    RequestHeaderSectionTooLarge RequestIsNotMultiPartContent RequestTorrentOfBucketError
    TagPolicyException TooManyAccessPoints TooManyMultiRegionAccessPointregionsError
    TooManyMultiRegionAccessPoints TransitionStorageClassNotFoundError UnexpectedContent
    UnresolvableGrantByEmailAddress UserAlreadyExists UserKeyMustBeSpecified ValueParseFailure
    XAdminInvalidArgument XAdminInvalidRequest XAdminUserExists XMinioAdminBucketRemoteAlreadyExists
    XMinioAdminBucketRemoteLabelInUse XMinioAdminConfigBadJSON XMinioAdminConfigDuplicateKeys
    XMinioAdminConfigEnvOverridden XMinioAdminConfigIDPCfgNameAlreadyExists
    XMinioAdminConfigIDPCfgNameDoesNotExist XMinioAdminConfigInvalidIDPType
    XMinioAdminConfigLDAPNonDefaultConfigName XMinioAdminConfigLDAPValidation XMinioAdminConfigTooLarge
    XMinioAdminGroupNotEmpty XMinioAdminInvalidArgument XMinioAdminNoAccessKey XMinioAdminNoSecretKey
    XMinioAdminNoSuchConfigTarget XMinioAdminNoSuchGroup XMinioAdminNoSuchJob XMinioAdminNoSuchPolicy
    XMinioAdminNoSuchQuotaConfiguration XMinioAdminNotificationTargetsTestFailed
    XMinioAdminPolicyChangeAlreadyApplied XMinioAdminProfilerNotEnabled
    XMinioAdminRebalanceAlreadyStarted XMinioAdminRebalanceNotStarted XMinioAdminRemoteARNTypeInvalid
    XMinioAdminRemoteArnInvalid XMinioAdminRemoteIdenticalToSource XMinioAdminRemoteRemoveDisallowed
    XMinioAdminRemoteTargetDenyAdd XMinioAdminRemoteTargetNotFoundError
    XMinioAdminReplicationBandwidthLimitError XMinioHealAlreadyRunning XMinioHealInvalidClientToken
    XMinioHealMissingBucket XMinioHealNoSuchProcess XMinioHealOverlappingPaths XMinioInvalidGroupName
    XMinioInvalidLifecycleParameter XMinioInvalidObjectName XMinioInvalidResource
    XMinioInvalidResourceName XMinioInvalidUTF XMinioLDAPExpectedLoginName XMinioMalformedJSON
    XMinioObjectExistsAsDirectory XMinioPolicyAlreadyAttached XMinioPolicyNotAttached
    XMinioReplicationDenyEdit XMinioReplicationNoExistingObjects XMinioRequestBodyParse
    XMinioSiteReplicationConfigMissingError XMinioSiteReplicationIAMConfigMismatch
    XMinioSiteReplicationInvalidRequest
  `,
};

const REASON_OF_S3_CODE: ReadonlyMap<string, Reason> = new Map(
  Object.entries(CODES_BY_REASON).flatMap(([reason, codes]) =>
    splitCodes(codes).map((code): [string, Reason] => [code, reason as Reason]),
  ),
);

/** @returns undefined for an unknown code. */
export function reasonOfS3Code(code: string): Reason | undefined {
  return REASON_OF_S3_CODE.get(code);
}

/** All codes that have this reason. */
export function s3CodesOf(reason: Reason): string[] {
  return splitCodes(CODES_BY_REASON[reason] ?? '');
}

function splitCodes(codes: string): string[] {
  return codes.split(/\s+/).filter((code) => code !== '');
}
