// SPDX-License-Identifier: GPL-2.0

include!("common.rs");

// Keeps rustfmt off what the mark is in.
macro_rules! as_is {
    ($($tokens:tt)*) => { $($tokens)* }
}

as_is! {
impl AddressSpaceOperations for Case //~ error[E0046] instead of: #[vtable] impl AddressSpaceOperations for Case
{
    type Data = ();
}
}
