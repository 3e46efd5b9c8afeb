//! The functions under AWS Lambda with SQS, as `infra/aws/template.yaml` has them: the same binaries, a runtime API of the
//! tests' own, and moto in the place of SQS and S3.

mod claims;
mod emulator;
mod faults;
mod http_payload;
mod replies;
mod stack;
mod template;
mod whole_loop;
