// SPDX-License-Identifier: Apache-2.0
import CSoftGPU
import PTX

/// Reads of textures: the runtime finds the elements and weighs them; this gathers what it is told.
extension KernelEmitter {
    /// The geometry that an instruction names, and its coordinates in the order of its operand.
    func geometry(_ i: Instruction) throws(PTXError) -> (form: UInt32, coordinates: [sg_coordinate]) {
        let known: [(String, sg_geometry, [sg_coordinate])] = [
            ("1d", SG_1D, [SG_X]), ("2d", SG_2D, [SG_X, SG_Y]), ("3d", SG_3D, [SG_X, SG_Y, SG_Z]),
            ("a1d", SG_A1D, [SG_LAYER, SG_X]), ("a2d", SG_A2D, [SG_LAYER, SG_X, SG_Y]),
            ("cube", SG_CUBE, [SG_X, SG_Y, SG_Z]), ("acube", SG_ACUBE, [SG_LAYER, SG_X, SG_Y, SG_Z]),
        ]
        guard let found = known.first(where: { i.has($0.0) }) else { throw unsupportedForm(i) }
        return (found.1.rawValue, found.2)
    }

    /// The object and the coordinates of `[object, {x, y}]`.
    func object(_ operand: Operand, _ i: Instruction) throws(PTXError) -> (handle: Value, coordinates: [Operand]) {
        guard case .address(let base, 0, let rest) = operand else { throw unsupportedForm(i) }
        let handle = try handle(base, i)
        guard let first = rest.first else { return (handle, []) }
        // A sampler of its own would stand in front of the coordinates.
        guard rest.count == 1 else { throw unsupportedForm(i) }
        if case .vector(let parts) = first { return (handle, parts) }
        return (handle, [first])
    }

    /// A handle in a register, or that of a reference of the module, which follows the launch's parameters.
    private func handle(_ base: Operand, _ i: Instruction) throws(PTXError) -> Value {
        guard case .name(let index, 0) = base else { return try read(base, .u64) }
        guard case .module(let name) = function.names[index],
            case .variable(let position)? = program.linker.symbol(name, in: module),
            let word = program.references[position]
        else { throw invalid("'\(i.spelling)' names what is neither a texture nor a surface") }
        let offset = KernelLayout.align(layout.parameterBytes, 8) + 8 * word
        let place = fresh()
        emit("\(place) = getelementptr i8, ptr %params, i64 \(offset)")
        return compute(.i64, "load i64, ptr \(place), align 8")
    }

    /// Room of 16-bit alignment that the runtime reads or writes.
    func room(_ words: Int) -> String {
        let name = fresh()
        entry += "  \(name) = alloca [\(words) x i32], align 16\n"
        return name
    }

    func put(_ value: Value, _ room: String, _ word: Int) {
        let place = fresh()
        emit("\(place) = getelementptr i32, ptr \(room), i64 \(word)")
        emit("store \(value.typed), ptr \(place), align 4")
    }

    func address(ofRoom room: String) -> Value { compute(.i64, "ptrtoint ptr \(room) to i64") }

    /// Writes the coordinates of an instruction into room for the runtime.
    func coordinates(
        _ operands: [Operand], _ places: [sg_coordinate], _ type: ScalarType, _ i: Instruction
    ) throws(PTXError) -> String {
        guard operands.count >= places.count else { throw invalid("'\(i.spelling)' lacks a coordinate") }
        let room = room(Int(SG_COORDINATES.rawValue))
        for (operand, place) in zip(operands, places) {
            // Layers are integers whatever the coordinates are.
            let type = place == SG_LAYER ? ScalarType.b32 : type
            put(reinterpret(try read(operand, type), .i32), room, Int(place.rawValue))
        }
        return room
    }

    func emitTexture(_ i: Instruction) throws(PTXError) {
        guard i.types.count == 2, i.types[1] == .f32 || i.types[1] == .s32 else { throw unsupportedForm(i) }
        let (geometry, places) = try geometry(i)
        let (handle, operands) = try object(try operand(i, 1), i)
        let room = try coordinates(operands, places, i.types[1], i)
        var form = geometry | (i.types[1] == .s32 ? SG_FORM_INTEGER.rawValue : 0)
        var next = 2
        if i.has("level") {
            form |= SG_FORM_LEVEL.rawValue
            put(reinterpret(try source(i, next, i.types[1]), .i32), room, Int(SG_LEVEL.rawValue))
            next += 1
        } else if i.has("grad") {
            guard i.types[1] == .f32, !i.has("cube"), !i.has("acube") else { throw unsupportedForm(i) }
            form |= SG_FORM_GRADIENT.rawValue
            let count = places.filter { $0 != SG_LAYER }.count
            for start in [SG_DX, SG_DY] {
                try putDerivatives(try operand(i, next), count, room, Int(start.rawValue), i)
                next += 1
            }
        }
        // Offsets of elements and depth comparison would follow.
        guard i.operands.count == next else { throw unsupportedForm(i) }
        try finishRead(i, handle, form, room)
    }

    private func putDerivatives(
        _ operand: Operand, _ count: Int, _ room: String, _ start: Int, _ i: Instruction
    ) throws(PTXError) {
        var parts = [operand]
        if case .vector(let list) = operand { parts = list }
        guard parts.count >= count else { throw invalid("'\(i.spelling)' lacks a derivative") }
        for position in 0..<3 {
            let value = position < count ? try read(parts[position], .f32) : constant(0, .f32)
            put(reinterpret(value, .i32), room, start + position)
        }
    }

    func emitGather(_ i: Instruction) throws(PTXError) {
        let components = ["r", "g", "b", "a"]
        guard i.types.count == 2, i.types[1] == .f32, i.operands.count == 2,
            let component = components.firstIndex(where: i.has)
        else { throw unsupportedForm(i) }
        let (geometry, places) = try geometry(i)
        guard [SG_2D, SG_A2D, SG_CUBE, SG_ACUBE].contains(sg_geometry(geometry)) else { throw unsupportedForm(i) }
        let (handle, operands) = try object(try operand(i, 1), i)
        let room = try coordinates(operands, places, .f32, i)
        let form = geometry | SG_FORM_GATHER.rawValue | UInt32(component) << SG_FORM_COMPONENT_SHIFT.rawValue
        try finishRead(i, handle, form, room)
    }

    /// Calls the runtime and writes the four components, and whether memory was there to the predicate behind `|`.
    private func finishRead(_ i: Instruction, _ handle: Value, _ form: UInt32, _ coordinates: String) throws(PTXError) {
        let type = i.types[0]
        let isPacked = type == .f16x2
        guard isPacked || type.bits == 32 else { throw unsupportedForm(i) }
        var target = try operand(i, 0)
        if case .pair(let value, let predicate) = target {
            target = value
            try write(Value(text: "true", type: .i1), to: predicate, .pred)
        }
        guard case .vector(let parts) = target, parts.count == (isPacked ? 2 : 4) else { throw unsupportedForm(i) }
        let result = room(4)
        let form = form | (isPacked ? SG_FORM_HALVES.rawValue : 0)
        emitRuntimeCall(
            "sg_texture_read",
            [
                blockArgument(), handle, integer(Int(form), .i32), address(ofRoom: coordinates),
                address(ofRoom: result),
            ])
        try load(parts, from: result, type)
    }

    /// Loads registers from room that the runtime has written.
    func load(_ parts: [Operand], from room: String, _ type: ScalarType) throws(PTXError) {
        for (position, part) in parts.enumerated() {
            if case .sink = part { continue }
            let place = fresh()
            emit("\(place) = getelementptr i8, ptr \(room), i64 \(position * type.bytes)")
            let bits = LLVMType.integer(bits: type.bits)
            let value = compute(bits, "load \(bits.rawValue), ptr \(place), align \(type.bytes)")
            try write(reinterpret(value, type.llvm), to: part, type)
        }
    }

    func emitQuery(_ i: Instruction, isSurface: Bool) throws(PTXError) {
        let queries: [(String, sg_query)] = [
            ("width", SG_QUERY_WIDTH), ("height", SG_QUERY_HEIGHT), ("depth", SG_QUERY_DEPTH),
            ("channel_data_type", SG_QUERY_CHANNEL_TYPE), ("channel_order", SG_QUERY_CHANNEL_ORDER),
            ("normalized_coords", SG_QUERY_NORMALIZED), ("array_size", SG_QUERY_LAYERS),
            ("num_mipmap_levels", SG_QUERY_LEVELS), ("filter_mode", SG_QUERY_FILTER),
            ("addr_mode_0", SG_QUERY_ADDRESS_0), ("addr_mode_1", SG_QUERY_ADDRESS_1),
            ("addr_mode_2", SG_QUERY_ADDRESS_2),
        ]
        guard let query = queries.first(where: { i.has($0.0) })?.1 else { throw unsupportedForm(i) }
        let (handle, _) = try object(try operand(i, 1), i)
        let level = i.has("level") ? try source(i, 2, .u32) : integer(0, .i32)
        let answer = call(
            .i32, "sg_image_query",
            [
                blockArgument(), handle, integer(isSurface ? 1 : 0, .i32), integer(Int(query.rawValue), .i32), level,
            ])
        try finish(i, answer, .b32)
    }
}
