// SPDX-License-Identifier: Apache-2.0
import CSoftGPU
import PTX

/// Reads, writes and reductions of surfaces.
extension KernelEmitter {
    private func vectorWidth(_ i: Instruction) -> Int { i.has("v2") ? 2 : i.has("v4") ? 4 : 1 }

    /// What an instruction does outside of the surface: `.trap` is the default.
    private func boundaryForm(_ i: Instruction) -> UInt32 {
        i.has("clamp") ? SG_FORM_CLAMP.rawValue : i.has("zero") ? SG_FORM_ZERO.rawValue : 0
    }

    private func surfaceGeometry(_ i: Instruction) throws(PTXError) -> (form: UInt32, coordinates: [sg_coordinate]) {
        let found = try geometry(i)
        guard found.form <= SG_A2D.rawValue else { throw unsupportedForm(i) }
        return found
    }

    private func accessBytes(_ type: ScalarType, _ width: Int, _ i: Instruction) throws(PTXError) -> UInt32 {
        let bytes = type.bytes * width
        guard type != .pred, bytes <= 16 else { throw unsupportedForm(i) }
        return UInt32(bytes) << SG_FORM_BYTES_SHIFT.rawValue
    }

    func emitSurfaceLoad(_ i: Instruction) throws(PTXError) {
        let type = try type(i), width = vectorWidth(i)
        let (geometry, places) = try surfaceGeometry(i)
        guard i.has("b") else { throw unsupportedForm(i) }
        let (handle, operands) = try object(try operand(i, 1), i)
        let room = try coordinates(operands, places, .b32, i)
        let form = geometry | boundaryForm(i) | (try accessBytes(type, width, i))
        let result = self.room(4)
        emitRuntimeCall(
            "sg_surface_read",
            [
                blockArgument(), handle, integer(Int(form), .i32), address(ofRoom: room), address(ofRoom: result),
            ])
        try load(try parts(try operand(i, 0), width, i), from: result, type)
    }

    func emitSurfaceStore(_ i: Instruction) throws(PTXError) {
        let type = try type(i), width = vectorWidth(i)
        let (geometry, places) = try surfaceGeometry(i)
        let (handle, operands) = try object(try operand(i, 0), i)
        let room = try coordinates(operands, places, .b32, i)
        var form = geometry | boundaryForm(i) | (try accessBytes(type, width, i))
        if i.has("p") {
            guard type.bits == 32 else { throw unsupportedForm(i) }
            form |= SG_FORM_FORMATTED.rawValue | UInt32(width) << SG_FORM_PARTS_SHIFT.rawValue
        } else {
            guard i.has("b") else { throw unsupportedForm(i) }
        }
        let source = self.room(4)
        for (position, part) in try parts(try operand(i, 1), width, i).enumerated() {
            let bits = reinterpret(try read(part, type), .integer(bits: type.bits))
            let place = fresh()
            emit("\(place) = getelementptr i8, ptr \(source), i64 \(position * type.bytes)")
            emit("store \(bits.typed), ptr \(place), align \(type.bytes)")
        }
        emitRuntimeCall(
            "sg_surface_write",
            [
                blockArgument(), handle, integer(Int(form), .i32), address(ofRoom: room), address(ofRoom: source),
            ])
    }

    func emitSurfaceReduction(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        let (geometry, places) = try surfaceGeometry(i)
        let (handle, operands) = try object(try operand(i, 0), i)
        let room = try coordinates(operands, places, .b32, i)
        let operation: sg_redux
        switch i.modifiers.first(where: { ["add", "and", "or", "min", "max"].contains($0) }) {
        case "add": operation = SG_REDUX_ADD
        case "and": operation = SG_REDUX_AND
        case "or": operation = SG_REDUX_OR
        case "min": operation = type.isSigned ? SG_REDUX_MIN_S : SG_REDUX_MIN_U
        case "max": operation = type.isSigned ? SG_REDUX_MAX_S : SG_REDUX_MAX_U
        default: throw unsupportedForm(i)
        }
        guard type.bits == 32 || type.bits == 64, !type.isFloat else { throw unsupportedForm(i) }
        var form = geometry | boundaryForm(i) | (try accessBytes(type, 1, i))
        form |= operation.rawValue << SG_FORM_OPERATION_SHIFT.rawValue
        if type.isSigned { form |= SG_FORM_SIGNED.rawValue }
        if i.has("p") { form |= SG_FORM_FORMATTED.rawValue }
        let source = self.room(4)
        let value = try self.source(i, 1, type)
        emit("store \(value.typed), ptr \(source), align 8")
        emitRuntimeCall(
            "sg_surface_reduce",
            [
                blockArgument(), handle, integer(Int(form), .i32), address(ofRoom: room), address(ofRoom: source),
            ])
    }

    /// The registers of a vector operand, which may be written without braces when there is one.
    private func parts(_ operand: Operand, _ width: Int, _ i: Instruction) throws(PTXError) -> [Operand] {
        var parts = [operand]
        if case .vector(let list) = operand { parts = list }
        guard parts.count == width else { throw invalid("'\(i.spelling)' needs \(width) registers") }
        return parts
    }
}
