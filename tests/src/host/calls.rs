//! The host calls that the module may import; see the proxy-wasm specification 0.2.1.
//!
//! The SDK links more than the filter calls. What is not here traps when it is called, and says its
//! name: the capability list of `envoy/envoy.yaml` does not have it either.

use std::time::Duration;

use wasmtime::{Caller, Engine, Error, Linker, Module, Result, Store};

use super::memory::{Status, decode, encode, give, read, read_text, write};
use super::proxy::Proxy;
use super::state::{Call, LocalReply, State, pair};

type Host<'a> = Caller<'a, State>;

const ENV: &str = "env";

/// Everything that the module imports: the calls below, and a trap for each other one.
pub(super) fn link(linker: &mut Linker<State>, module: &Module) -> Result<()> {
    link_calls(linker)?;
    linker.define_unknown_imports_as_traps(module)
}

/// The names of the calls that this host has.
pub(super) fn names(engine: &Engine) -> Result<Vec<String>> {
    let mut linker = Linker::new(engine);
    link_calls(&mut linker)?;
    let mut store = Store::new(engine, State::new(Proxy::default(), b""));
    Ok(linker.iter(&mut store).map(|(_, name, _)| name.to_owned()).collect())
}

fn link_calls(linker: &mut Linker<State>) -> Result<()> {
    link_basics(linker)?;
    link_request(linker)?;
    link_reply(linker)?;
    link_shared_data(linker)?;
    link_metrics(linker)?;
    link_grpc(linker)
}

fn link_basics(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        ENV,
        "proxy_log",
        |mut host: Host<'_>, level: u32, at: u32, length: u32| -> Result<i32> {
            let text = read_text(&mut host, at, length)?;
            host.data_mut().log.push((level, text));
            done(Status::Ok)
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_get_current_time_nanoseconds",
        |mut host: Host<'_>, time: u32| -> Result<i32> {
            let now = u64::try_from(host.data().proxy.now().as_nanos()).unwrap_or(u64::MAX);
            write(&mut host, time, &now.to_le_bytes())?;
            done(Status::Ok)
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_set_tick_period_milliseconds",
        |mut host: Host<'_>, period: u32| -> Result<i32> {
            host.data_mut().tick = (period > 0).then(|| Duration::from_millis(u64::from(period)));
            done(Status::Ok)
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_set_effective_context",
        |mut host: Host<'_>, context: u32| -> Result<i32> {
            let state = host.data_mut();
            if context != super::vm::ROOT && !state.streams.contains_key(&context) {
                return done(Status::BadArgument);
            }
            state.effective = context;
            done(Status::Ok)
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_get_status",
        |mut host: Host<'_>, code: u32, text: u32, size: u32| -> Result<i32> {
            let status = host.data().status;
            write(&mut host, code, &status.to_le_bytes())?;
            give(&mut host, b"", text, size)?;
            done(Status::Ok)
        },
    )?;
    Ok(())
}

fn link_request(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        ENV,
        "proxy_get_buffer_bytes",
        |mut host: Host<'_>, kind: u32, start: u32, max: u32, at: u32, size: u32| -> Result<i32> {
            let Some(buffer) = host.data().buffer(kind) else { return done(Status::NotFound) };
            let start = start as usize;
            let end = buffer.len().min(start.saturating_add(max as usize));
            let Some(bytes) = buffer.get(start..end).map(<[u8]>::to_vec) else {
                return done(Status::BadArgument);
            };
            give(&mut host, &bytes, at, size)?;
            done(Status::Ok)
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_get_header_map_pairs",
        |mut host: Host<'_>, kind: u32, at: u32, size: u32| -> Result<i32> {
            let Some(bytes) = host.data().map(kind).map(encode) else {
                return done(Status::BadArgument);
            };
            give(&mut host, &bytes, at, size)?;
            done(Status::Ok)
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_get_header_map_value",
        |mut host: Host<'_>,
         kind: u32,
         name: u32,
         length: u32,
         at: u32,
         size: u32|
         -> Result<i32> {
            let name = read(&mut host, name, length)?;
            let Some(map) = host.data().map(kind) else { return done(Status::BadArgument) };
            let Some(value) = pair(map, &name) else { return done(Status::NotFound) };
            give(&mut host, &value, at, size)?;
            done(Status::Ok)
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_get_property",
        |mut host: Host<'_>, path: u32, length: u32, at: u32, size: u32| -> Result<i32> {
            let path = read(&mut host, path, length)?;
            let parts: Vec<&[u8]> = path.split(|byte| *byte == 0).collect();
            let Some(value) = host.data().property(&parts) else { return done(Status::NotFound) };
            give(&mut host, &value, at, size)?;
            done(Status::Ok)
        },
    )?;
    Ok(())
}

fn link_reply(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        ENV,
        "proxy_send_local_response",
        |mut host: Host<'_>,
         status: u32,
         _details: u32,
         _details_length: u32,
         body: u32,
         length: u32,
         map: u32,
         map_length: u32,
         _grpc: i32|
         -> Result<i32> {
            let body = read(&mut host, body, length)?;
            let pairs = decode(&read(&mut host, map, map_length)?)?;
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            let headers =
                pairs.into_iter().map(|(name, value)| (text(name), text(value))).collect();
            // In the name of the root context the call is accepted and does nothing.
            let Some(stream) = host.data_mut().stream() else { return done(Status::Ok) };
            if stream.reply.is_some() {
                return Err(Error::msg("a second local reply to one request"));
            }
            stream.reply = Some(LocalReply { status, headers, body });
            done(Status::Ok)
        },
    )?;
    Ok(())
}

fn link_shared_data(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        ENV,
        "proxy_get_shared_data",
        |mut host: Host<'_>, key: u32, length: u32, at: u32, size: u32, cas: u32| -> Result<i32> {
            let key = read(&mut host, key, length)?;
            let Some((value, mark)) = host.data().proxy.load(&key) else {
                return done(Status::NotFound);
            };
            give(&mut host, &value, at, size)?;
            write(&mut host, cas, &mark.to_le_bytes())?;
            done(Status::Ok)
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_set_shared_data",
        |mut host: Host<'_>,
         key: u32,
         key_length: u32,
         value: u32,
         length: u32,
         cas: u32|
         -> Result<i32> {
            let key = read(&mut host, key, key_length)?;
            let value = read(&mut host, value, length)?;
            let stored = host.data().proxy.store(&key, &value, cas);
            done(if stored { Status::Ok } else { Status::CasMismatch })
        },
    )?;
    Ok(())
}

fn link_metrics(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        ENV,
        "proxy_define_metric",
        |mut host: Host<'_>, _kind: u32, name: u32, length: u32, id: u32| -> Result<i32> {
            let name = read_text(&mut host, name, length)?;
            let number = host.data().proxy.define_metric(&name);
            write(&mut host, id, &number.to_le_bytes())?;
            done(Status::Ok)
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_increment_metric",
        |host: Host<'_>, id: u32, by: i64| -> Result<i32> {
            found(host.data().proxy.change_metric(id, |value| *value += by))
        },
    )?;
    linker.func_wrap(
        ENV,
        "proxy_record_metric",
        |host: Host<'_>, id: u32, to: u64| -> Result<i32> {
            found(
                host.data()
                    .proxy
                    .change_metric(id, |value| *value = i64::try_from(to).unwrap_or(i64::MAX)),
            )
        },
    )?;
    Ok(())
}

fn link_grpc(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        ENV,
        "proxy_grpc_call",
        |mut host: Host<'_>,
         cluster: u32,
         cluster_length: u32,
         service: u32,
         service_length: u32,
         method: u32,
         method_length: u32,
         _metadata: u32,
         _metadata_length: u32,
         message: u32,
         message_length: u32,
         timeout: u32,
         token_at: u32|
         -> Result<i32> {
            let cluster = read_text(&mut host, cluster, cluster_length)?;
            let service = read_text(&mut host, service, service_length)?;
            let method = read_text(&mut host, method, method_length)?;
            let message = read(&mut host, message, message_length)?;
            let state = host.data_mut();
            if cluster != super::vm::CLUSTER {
                return done(Status::ParseFailure);
            }
            let token = state.next_token;
            state.next_token += 1;
            let timeout = Duration::from_millis(u64::from(timeout));
            state.calls.insert(
                token,
                Call {
                    token,
                    context: state.effective,
                    cluster,
                    service,
                    method,
                    message,
                    timeout,
                },
            );
            write(&mut host, token_at, &token.to_le_bytes())?;
            done(Status::Ok)
        },
    )?;
    Ok(())
}

fn found(yes: bool) -> Result<i32> {
    done(if yes { Status::Ok } else { Status::NotFound })
}

#[expect(clippy::unnecessary_wraps, reason = "host calls end with it")]
fn done(status: Status) -> Result<i32> {
    Ok(status as i32)
}
