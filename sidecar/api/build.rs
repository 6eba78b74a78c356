//! Generates messages (always) and client and server (feature `grpc`) from the .proto file, without
//! protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const FILE: &str = "proto/lockgate/v1/gate.proto";
    println!("cargo::rerun-if-changed={FILE}");
    let grpc = std::env::var_os("CARGO_FEATURE_GRPC").is_some();
    tonic_prost_build::configure()
        .build_client(grpc)
        .build_server(grpc)
        .build_transport(grpc)
        .emit_rerun_if_changed(false)
        // They carry keys or bodies: their Debug is written by hand.
        .skip_debug([
            "lockgate.v1.Endpoint",
            "lockgate.v1.DeliverRequest",
            "lockgate.v1.DeliverResponse",
        ])
        .compile_fds(protox::compile([FILE], ["proto"])?)?;
    Ok(())
}
