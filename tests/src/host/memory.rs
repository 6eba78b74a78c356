//! The module's memory, and the encoding of maps.

use wasmtime::{Caller, Error, Extern, Memory, Result};

use super::state::{Pairs, State};

/// `proxy_status_t`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(i32)]
pub(super) enum Status {
    Ok = 0,
    NotFound = 1,
    BadArgument = 2,
    ParseFailure = 4,
    CasMismatch = 8,
}

fn memory(caller: &mut Caller<'_, State>) -> Result<Memory> {
    caller
        .get_export("memory")
        .and_then(Extern::into_memory)
        .ok_or_else(|| Error::msg("the module exports no memory"))
}

pub(super) fn read(caller: &mut Caller<'_, State>, at: u32, length: u32) -> Result<Vec<u8>> {
    let memory = memory(caller)?;
    let start = at as usize;
    let bytes = memory.data(&*caller).get(start..start.saturating_add(length as usize));
    bytes.map(<[u8]>::to_vec).ok_or_else(|| {
        Error::msg(format!("the module passed {length} bytes at {at}, outside its memory"))
    })
}

pub(super) fn read_text(caller: &mut Caller<'_, State>, at: u32, length: u32) -> Result<String> {
    let bytes = read(caller, at, length)?;
    String::from_utf8(bytes)
        .map_err(|error| Error::msg(format!("the module passed text that is not UTF-8: {error}")))
}

pub(super) fn write(caller: &mut Caller<'_, State>, at: u32, bytes: &[u8]) -> Result<()> {
    memory(caller)?.write(&mut *caller, at as usize, bytes).map_err(Error::from)
}

/// Puts `bytes` into memory that the module allocates, and says where. Nothing is a null pointer.
pub(super) fn give(
    caller: &mut Caller<'_, State>,
    bytes: &[u8],
    pointer: u32,
    size: u32,
) -> Result<()> {
    let length = u32::try_from(bytes.len()).map_err(Error::from)?;
    let at = if bytes.is_empty() {
        0
    } else {
        let malloc = caller
            .get_export("malloc")
            .and_then(Extern::into_func)
            .ok_or_else(|| Error::msg("the module exports no malloc"))?;
        let at = malloc.typed::<u32, u32>(&*caller)?.call(&mut *caller, length)?;
        write(caller, at, bytes)?;
        at
    };
    write(caller, pointer, &at.to_le_bytes())?;
    write(caller, size, &length.to_le_bytes())
}

/// Count, then the sizes of all names and values, then each with a zero byte behind it.
pub(super) fn encode(pairs: &Pairs) -> Vec<u8> {
    let size = |bytes: &Vec<u8>| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut out = u32::try_from(pairs.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    for (name, value) in pairs {
        out.extend_from_slice(&size(name));
        out.extend_from_slice(&size(value));
    }
    for bytes in pairs.iter().flat_map(|(name, value)| [name, value]) {
        out.extend_from_slice(bytes);
        out.push(0);
    }
    out
}

pub(super) fn decode(bytes: &[u8]) -> Result<Pairs> {
    let wrong = || Error::msg("the module passed a malformed map");
    let number = |at: usize| -> Result<usize> {
        let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).ok_or_else(wrong)?;
        Ok(u32::from_le_bytes(word) as usize)
    };
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let count = number(0)?;
    let mut at = 4 + 8 * count;
    let mut pairs = Vec::new();
    for place in 0..count {
        let mut next = |size: usize| -> Result<Vec<u8>> {
            let text = bytes.get(at..at + size).ok_or_else(wrong)?.to_vec();
            at += size + 1;
            Ok(text)
        };
        let name = next(number(4 + 8 * place)?)?;
        let value = next(number(8 + 8 * place)?)?;
        pairs.push((name, value));
    }
    Ok(pairs)
}
